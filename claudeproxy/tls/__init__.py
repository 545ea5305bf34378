"""The TLS that clients see: our certificate authority, one leaf per host, and the stream that speaks it on Trio.

In reading order: `names` (what the authority may vouch for), `issue` (the certificates themselves), `files` (the two
files on disk), `authority` (`CertificateAuthority`), `cache` (`CertificateCache`), `contexts` (what both legs agree to
speak), `alerts` and `stream` (`TLSStream`, towards clients), `upstream` (`UpstreamTLSStream`, over the context of
`CertificateCache.get_client_config()`).
Nothing here decides which hosts are intercepted.
"""
