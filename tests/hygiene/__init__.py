"""The known tricks of request smuggling and response poisoning, each with what the proxy must make of it."""
