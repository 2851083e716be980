"""Numbers for people: protocols, `restore eval` and `restore score`, through the runner of users' pictures.

* `protocol`: what is measured, as plain data (no heavy import)
* `damage`: clean pictures made noisy exactly as a protocol says
* `pictures`: pictures as metrics take them
* `run`: a protocol over pictures and methods
* `score`: files and folders beside their truth
"""
