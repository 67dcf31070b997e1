//! Journals on disks that are full, and daemons that are killed.
