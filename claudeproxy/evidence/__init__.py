"""What else may know where context came from: fingerprints of the client's own text (later: transcripts, user rules).

Each kind of evidence is optional and read-only. The files are read here, so that attribution stays free of files.
"""
