"""Where files are and how they are written: names of an edition's files, atomic writes, digests.

No table logic and no formats of one room only; those stay with the room that owns them.
Everything above may import from here; this room imports only the errors.
"""
