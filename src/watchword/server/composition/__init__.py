"""The composition root: makes every concrete object of one worker and passes each what it needs.

`foundation` opens what all wings need. Each wing of `service/` has one function here that takes the foundation and the
wings below it and returns a frozen record of its verbs; `services` calls these functions in the order of the wings.
Each surface in `surfaces/` takes those records and returns endpoints. There is no container and no lookup by name or
type: a missing or misplaced argument is an error of the type checker.
"""
