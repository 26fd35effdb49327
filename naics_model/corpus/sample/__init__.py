"""The bundled `sample` edition: five workbooks, part of the 2022 structure, every text our own.

No code that reads workbooks; the edition is read like any other. Data flows table/*.toml ->
write_workbooks -> workbooks/*.xlsx, and nothing else of the project reads the table.
"""
