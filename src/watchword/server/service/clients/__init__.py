"""Who is asking: authentication of applications, their keys, assertions and failed attempts."""
