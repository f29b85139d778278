"""Verbs on devices and their enrolment, over the admin API."""
