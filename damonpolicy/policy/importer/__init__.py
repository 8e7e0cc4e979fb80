"""From a kernel, damo's files or deployed writes to a policy."""
