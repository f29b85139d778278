"""The admin API's operations on devices and their enrolment."""
