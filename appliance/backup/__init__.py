"""Backups of the box: the store, the settings file and, when asked, the images.

On the target, all of it below one folder that belongs to one box:

    diecast-backup/20261123T023000Z/   store.sqlite, diecast.toml, backup.json
    diecast-backup/chunks/ab/abcd...   chunk files of all backups, named by their content, copied once
    diecast-backup/versions/ID/        manifest.json and indexes of all backups' image versions
    diecast-backup/.NAME.new           being written; .NAME.old is being removed

Order of writes, and what a crash leaves: chunks, each whole or not there (the next run copies what lacks); versions,
each under a temporary name and renamed; the backup itself under a temporary name and renamed last. So a backup that
has its name is whole. What was left half-written is removed by the next run. Pruning removes the backup first, then
the chunks that no other one needs, then their versions: stopped anywhere, the next pruning goes on.
"""
