//! Which files governed processes leave alone, where the tier is seal: the gateway's own, and those by
//! which others are had to work.
use crate::config::Config;
use gateway_capture::Guard;
use std::path::{Path, PathBuf};

/// What says what cron, at and systemd start.
const ORDERS: [&str; 15] = [
    "/etc/crontab",
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/etc/anacrontab",
    "/var/spool/cron",
    "/var/spool/at",
    "/etc/init.d",
    "/etc/systemd",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/usr/lib/systemd/system",
    "/usr/lib/systemd/user",
];

/// All of them, whether they are there or not.
pub(crate) fn files(config: &Config) -> Vec<(PathBuf, Guard)> {
    let mut files = vec![
        (config.state_dir.clone(), Guard::Secret),
        (config.credentials.file.clone(), Guard::Secret),
        (config.credentials.key_file.clone(), Guard::Secret),
        (config.policy_dir.clone(), Guard::Closed),
    ];
    // A directory that others use too, such as /run, is theirs.
    let own = |directory: &Path| directory.ends_with("gateway");
    let above = [config.file.as_deref(), Some(&*config.control_socket)].map(|file| file?.parent());
    let above = above.into_iter().flatten().filter(|above| own(above));
    files.extend(above.map(|above| (above.to_owned(), Guard::Closed)));
    files.extend(config.file.iter().map(|file| (file.clone(), Guard::Closed)));
    if let Ok(binary) = std::env::current_exe() {
        files.push((binary, Guard::Closed));
    }
    // Where systemd puts the key of the credential store (LoadCredential=).
    let handed = std::env::var_os("CREDENTIALS_DIRECTORY");
    files.extend(handed.map(|directory| (directory.into(), Guard::Secret)));
    files.extend(ORDERS.map(|path| (path.into(), Guard::Closed)));
    files
}
