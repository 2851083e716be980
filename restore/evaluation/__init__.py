"""Numbers for people: protocols, `restore eval` and `restore score`, through the runner of users' pictures.

* `protocol`: what is measured, as plain data (no heavy import); its cases are the task's (`restore.degradations.cases`)
* `samples`: files, read and damaged as a case says
* `methods`: what is measured, of the task's table
* `pictures`: pictures as metrics take them
* `run`: a protocol over pictures and methods
* `score`: files and folders beside their truth
"""
