"""Enrolment, imports and bulk changes of devices."""
