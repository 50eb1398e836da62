"""Remedies that name a command, as the console words them: which screen and which key do it here.

Other parts of the program write one remedy for whoever reads it, and name a command where there is one. Who reads it at
the console has a key for most of them. Keys of the table are templates as `tui.sentences` knows them, with the names
that the f-string has; what stands for a name may be left out. The key of a screen is the digit before its title.
"""

from __future__ import annotations

from appliance.tui.i18n import N_

CONSOLE: dict[str, str] = {
    # hosts
    "See: diecast host list": N_("Hosts has them all: key 2."),
    "See: diecast host show {owner_name}": N_("Hosts shows it: key 2, then Enter on {owner_name}."),
    "See: diecast room list": N_("The rooms: key 2, then u."),
    "Take it away there first: diecast host edit {owner_name}": N_(
        "Take it away there first: key 2, then e on {owner_name}."
    ),
    "Give it one: diecast host edit {host_name} --mac MAC": N_("Give it one: key 2, then e on {host_name}."),
    "Name one by path, serial, WWN or model: diecast host edit NAME --disk DISK": N_(
        "Name one by path, serial, WWN or model: key 2, then e, 'Disk to use'."
    ),
    "Capture it first, or run: diecast host edit {known_name} --not-sealed": N_(
        "Capture it first, or lift its seal: key 2, then z on {known_name}."
    ),
    "To rename that: diecast host edit {name} --name": N_("To rename that: key 2, then e on {name}."),
    # images
    "See: diecast image list": N_("Images has them all: key 3."),
    "Capture one: diecast capture HOST --image {image_name}": N_("Capture one into {image_name}: key c."),
    "On the box run: diecast image verify {image_name}": N_("Verify it: key 3, then v on {image_name}."),
    "On the box run: diecast image verify {order_image_name}": N_("Verify it: key 3, then v on {order_image_name}."),
    "Check the box's nfs service, and run there: diecast image verify {image_name}": N_(
        "Check the box's nfs service (key 7), and verify the image: key 3, then v on {image_name}."
    ),
    "Look what is damaged: diecast image verify; then capture again.": N_(
        "Look what is damaged: key 3, then v; then capture again."
    ),
    "Free space on the image disk (diecast image remove), then capture again.": N_(
        "Free space on the image disk (key 3, then x), then capture again."
    ),
    "Remove images (diecast image remove), or lower tasks.free_reserve_mb.": N_(
        "Remove images (key 3, then x), or lower tasks.free_reserve_mb (key 7, Settings)."
    ),
    "Remove images that nobody needs (diecast image remove) or add disk space, then capture again.": N_(
        "Remove images that nobody needs (key 3, then x) or add disk space, then capture again."
    ),
    "Remove images that nobody needs: diecast image remove": N_("Remove images that nobody needs: key 3, then x."),
    # tasks, orders, casts
    "See: diecast task list": N_("Tasks has them all: key 4."),
    "See: diecast task show {task_id}": N_("Tasks shows it: key 4, then Enter on {task_id}."),
    "See: diecast task show {old_id}": N_("Tasks shows it: key 4, then Enter on {old_id}."),
    "Wait for it, or run: diecast task cancel {task_id}": N_("Wait for it, or cancel task {task_id}: key 4, then k."),
    "Wait for it, or run: diecast task cancel {row_id}": N_("Wait for it, or cancel task {row_id}: key 4, then k."),
    "Boot that PC, or run: diecast task cancel {waiting_id}": N_(
        "Boot that PC, or cancel task {waiting_id}: key 4, then k."
    ),
    "Cancel it first: diecast task cancel --order {order_id}": N_("Give it up first: key n, then order {order_id}."),
    "Confirm them: diecast task release {task_order_id}": N_("Confirm them: key n, then order {task_order_id}."),
    "See: diecast task orders": N_("The orders that wait: key n."),
    "See: diecast cast list": N_("Casts has them all: key 5."),
    "See: diecast cast show": N_("Casts shows who takes part: key 5."),
    "Stop one (diecast cast stop), or set cast.groups.": N_("Stop one (key 5, then k), or set cast.groups (key 7)."),
    # the box
    "Check its scheduler service: diecast doctor": N_("Check its scheduler service: key 7, Doctor."),
    "Check that its nfs service runs: diecast doctor": N_("Check that its nfs service runs: key 7, Doctor."),
    "Check that the box's nfs service runs: diecast doctor": N_(
        "Check that the box's nfs service runs: key 7, Doctor."
    ),
    "Check the box's nfs service: diecast doctor": N_("Check the box's nfs service: key 7, Doctor."),
    "Check that the box's scheduler service runs and that its image disk has room: diecast doctor": N_(
        "Check that the box's scheduler service runs and that its image disk has room: key 7, Doctor."
    ),
    "See: diecast operator list": N_("Operators: key 7, then u."),
    "See: diecast setting list": N_("Settings: key 7, then u."),
    "{hint}See: diecast setting list": N_("{hint}Settings: key 7, then u."),
    "Take it back: diecast setting unset {name}": N_("Take {name} back: key 7, Settings, x."),
    "See: diecast service list": N_("Services: key 7."),
    "See: diecast box disk list": N_("The disks: key 7, Disks, e."),
    "Take another disk: diecast box disk list": N_("Take another disk."),
    "See where images lie: diecast box disk list": N_("See where images lie: key 7, Disks."),
    "See: diecast box address show": N_("The box's interfaces: key 6, Own."),
    "Set one: diecast box address set": N_("Set one: key 6, Own, e."),
}
