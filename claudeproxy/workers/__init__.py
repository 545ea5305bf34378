"""Several processes that relay, behind one address: what ``workers`` in the configuration makes of the proxy.

The process that was started holds the listening socket, the API and the recorder's pipe, and starts the others (`pool`,
`keeping`); each of those relays and writes a journal of its own (`process`). Whose turn it is to take a connection they
read from a few shared numbers (`board`); what they count is added up (`adding`). One that dies breaks its own
connections and no others: the socket is not its own, and neither is the record.
"""
