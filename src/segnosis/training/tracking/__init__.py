"""Where a run is recorded besides its own folder: one module = one place, named by `segnosis train --track NAME`.

Such a module has `open(folder, *, resume)`, which says at once what is missing and gives what `base.Tracker` describes.
"""

NOT_UNITS = ("base", "events", "tracked")
