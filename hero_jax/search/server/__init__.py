"""A server of searches: a JSON API, and a page that plays the moments.

opening.py    the command's options, and what is opened for them
running.py    the process: it listens, and stops without losing a request
app.py        routes, what every answer carries, and errors
endpoints.py  what each route does
api.py        requests and replies, and their description (OpenAPI)
batching.py   requests gathered into batches for the device
archive.py    the model, the index as it is now, and the searches
catalog.py    the films of an index
scores.py     the score of each frame of a film
contents.py   the features of clips, for questions, statements and captions
media.py      film files by ranges, thumbnails, subtitles
intake.py     films that are added from the page
metrics.py    counts for Prometheus
static/       the page
"""
