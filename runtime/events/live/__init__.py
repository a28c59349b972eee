"""Events as they happen: from the network or a pipe, with an account of every one that is lost."""
