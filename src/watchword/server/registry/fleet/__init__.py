"""Records of devices and their enrolment, and their rules."""
