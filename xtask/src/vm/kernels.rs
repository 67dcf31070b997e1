//! Debian's kernels: found and fetched by apt, with lists of our own, unpacked into the build
//! directory and never installed. What the host's own sources are does not matter, and they stay.
use crate::process;
use anyhow::{Context, Result, bail, ensure};
use std::cmp::Reverse;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the kernels are: 6.1 and 6.12 in the security archive of Debian 12, later ones in the
/// backports of Debian 13. Both indexes are small.
const SOURCES: &str = "\
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian-security bookworm-security main
deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie-backports main
";

/// How many releases of a series are tried: a name can be in an index without the package.
const RELEASES_TRIED: usize = 3;

/// A series of kernels of which the newest release is booted.
pub(super) struct Series {
    pub(super) name: &'static str,
    /// Is a release of these numbers one of it?
    has: fn(&[u32]) -> bool,
    /// Debian 12's QEMU 7.2 double-faults on 6.12 with cmpxchg16b, without which 7.3 has no socket
    /// storage.
    pub(super) cpu: &'static str,
}

pub(super) const SERIES: [Series; 3] = [
    Series {
        name: "6.1",
        has: |numbers| numbers.starts_with(&[6, 1]),
        cpu: "max",
    },
    Series {
        name: "6.12",
        has: |numbers| numbers.starts_with(&[6, 12]),
        cpu: "max,cx16=off",
    },
    Series {
        name: "newest",
        has: |numbers| numbers.first() >= Some(&7),
        cpu: "max",
    },
];

/// A kernel to boot.
pub(super) struct Kernel {
    /// As `uname -r` says it, without the flavour.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// What is not in the image.
    pub(super) modules: Vec<PathBuf>,
}

/// Links between network namespaces, and a device for a network in user space.
const MODULES: [&str; 2] = ["veth", "tun"];

/// Debian's archive as this directory knows it.
pub(super) struct Archive {
    directory: PathBuf,
    /// Why the indexes could not be renewed. Those from before count then.
    stale: Option<String>,
}

impl Archive {
    /// Renews the indexes.
    pub(super) fn open(directory: &Path) -> Result<Archive> {
        for part in ["lists/partial", "cache/archives/partial", "kernels"] {
            fs::create_dir_all(directory.join(part))?;
        }
        fs::write(directory.join("sources.list"), SOURCES)?;
        let mut archive = Archive {
            directory: directory.to_owned(),
            stale: None,
        };
        let updated = process::read(archive.command("apt-get").args([
            "-qq",
            "-o",
            "APT::Update::Error-Mode=any",
            "update",
        ]));
        if let Err(error) = updated {
            archive.stale = Some(apts_word(&error));
            println!("vm: apt's lists are as they were: {}", apts_word(&error));
        }
        Ok(archive)
    }

    /// The newest kernel of a series; of those unpacked before when the archive has none.
    pub(super) fn newest(&self, series: &Series) -> Result<Kernel> {
        let names = process::read(self.command("apt-cache").args(["pkgnames", "linux-image-"]))?;
        let mut reasons = Vec::from_iter(self.stale.clone());
        for release in releases(&names, series.has)
            .into_iter()
            .take(RELEASES_TRIED)
        {
            match self.fetch(&release) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => reasons.push(apts_word(&error)),
            }
        }
        if reasons.is_empty() {
            bail!("its lists have none");
        }
        bail!("{}", reasons.join("; "))
    }

    /// A release. Since 6.19 the package that is named for the image is empty: another one has it, and
    /// one more the modules.
    fn fetch(&self, release: &str) -> Result<Kernel> {
        let directory = self.directory.join("kernels").join(release);
        let kernel = Kernel {
            release: release.to_owned(),
            image: directory.join("vmlinuz"),
            modules: MODULES
                .map(|module| directory.join(format!("{module}.ko")))
                .into(),
        };
        if !kernel.modules.iter().all(|module| module.exists()) {
            self.keep(release, &directory)?;
        }
        Ok(kernel)
    }

    /// Unpacks what is booted of a release.
    fn keep(&self, release: &str, directory: &Path) -> Result<()> {
        let place = tempfile::tempdir_in(&self.directory)?;
        let (tree, kept) = (place.path().join("tree"), place.path().join("kept"));
        fs::create_dir(&kept)?;
        let modules = ["lib/modules", "usr/lib/modules"]
            .map(|place| tree.join(place).join(format!("{release}-cloud-amd64")));
        let images = [
            tree.join(format!("boot/vmlinuz-{release}-cloud-amd64")),
            modules[1].join("vmlinuz"),
        ];
        let image = || images.iter().find(|path| path.exists());
        let found = || -> Option<Vec<PathBuf>> {
            let find = |name| modules.iter().find_map(|modules| module(modules, name));
            MODULES.into_iter().map(find).collect()
        };
        let mut why = None;
        for package in [
            format!("linux-binary-{release}-cloud-amd64"),
            format!("linux-modules-{release}-cloud-amd64"),
            format!("linux-image-{release}-cloud-amd64"),
            format!("linux-image-{release}-cloud-amd64-unsigned"),
        ] {
            if image().is_some() && found().is_some() {
                break;
            }
            if let Err(error) = self.unpack(&package, place.path(), &tree) {
                why = Some(error);
            }
        }
        let (Some(image), Some(found)) = (image(), found()) else {
            return Err(why.context("its packages have no image, or not all modules")?);
        };
        fs::rename(image, kept.join("vmlinuz"))?;
        for (name, module) in MODULES.iter().zip(found) {
            unpack_module(&module, &kept.join(format!("{name}.ko")))?;
        }
        // An earlier version of this kept less.
        if directory.is_dir() {
            fs::remove_dir_all(directory)?;
        } else if directory.exists() {
            fs::remove_file(directory)?;
        }
        fs::rename(&kept, directory).with_context(|| directory.display().to_string())
    }

    /// Unpacks a package into a tree.
    fn unpack(&self, package: &str, place: &Path, tree: &Path) -> Result<()> {
        let place = place.join(package);
        fs::create_dir(&place)?;
        process::read(
            self.command("apt-get")
                .args(["-qq", "download", package])
                .current_dir(&place),
        )?;
        let archive = fs::read_dir(&place)?
            .next()
            .with_context(|| format!("apt-get downloaded no {package}"))??
            .path();
        process::read(
            Command::new("dpkg-deb")
                .arg("--extract")
                .arg(archive)
                .arg(tree),
        )?;
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        command
            .arg("-o")
            .arg(option(
                "Dir::Etc::sourcelist",
                &self.directory.join("sources.list"),
            ))
            .args(["-o", "Dir::Etc::sourceparts=-"])
            .arg("-o")
            .arg(option("Dir::State::Lists", &self.directory.join("lists")))
            .arg("-o")
            .arg(option("Dir::Cache", &self.directory.join("cache")))
            // A build directory may be closed to apt's own user.
            .args(["-o", "APT::Sandbox::User="]);
        command
    }
}

/// A module's file, packed or not.
fn module(modules: &Path, name: &str) -> Option<PathBuf> {
    let file = modules.join(format!("kernel/drivers/net/{name}.ko"));
    let packed = file.with_extension("ko.xz");
    [file, packed].into_iter().find(|file| file.exists())
}

fn unpack_module(file: &Path, module: &Path) -> Result<()> {
    if file.extension().is_some_and(|end| end == "ko") {
        fs::copy(file, module)?;
        return Ok(());
    }
    let unpacked = fs::File::create(module)?;
    let status = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .arg(file)
        .stdout(unpacked)
        .status()
        .context("xz")?;
    ensure!(status.success(), "xz could not unpack {}", file.display());
    Ok(())
}

/// What apt complains of first, without the command that we called it by.
fn apts_word(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let complaint = text.lines().find_map(|line| line.strip_prefix("E: "));
    complaint
        .or_else(|| text.lines().next())
        .unwrap_or_default()
        .to_owned()
}

/// The releases of the cloud kernels among these package names, newest first.
fn releases(names: &str, has: fn(&[u32]) -> bool) -> Vec<String> {
    let release = |name: &str| {
        let name = name.strip_suffix("-unsigned").unwrap_or(name);
        let release = name
            .strip_prefix("linux-image-")?
            .strip_suffix("-cloud-amd64")?;
        let numbers = numbers(release);
        // Shorter ones are names of whatever is the latest.
        let numbered = numbers.len() > 2 && !release.contains("rc");
        (numbered && has(&numbers)).then(|| release.to_owned())
    };
    let mut releases: Vec<String> = names.lines().filter_map(release).collect();
    releases.sort_by_key(|release| Reverse(numbers(release)));
    releases.dedup();
    releases
}

/// Do two releases have the same first two numbers?
pub(super) fn same_version(one: &str, other: &str) -> bool {
    numbers(one).get(..2) == numbers(other).get(..2)
}

fn numbers(release: &str) -> Vec<u32> {
    release
        .split(|character: char| !character.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_series_the_newest_release_comes_first() {
        let names = "linux-image-cloud-amd64\nlinux-image-6.12-cloud-amd64\n\
                     linux-image-6.1.0-9-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64\n\
                     linux-image-6.1.0-56-cloud-amd64-unsigned\nlinux-image-6.1.0-56-amd64\n\
                     linux-image-6.12.117+deb12-cloud-amd64\nlinux-image-7.3.4+deb13-cloud-amd64\n\
                     linux-image-7.4~rc1-1-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64-dbg\n";
        for (series, expected) in SERIES.iter().zip([
            vec!["6.1.0-56", "6.1.0-9"],
            vec!["6.12.117+deb12"],
            vec!["7.3.4+deb13"],
        ]) {
            assert_eq!(releases(names, series.has), expected, "{}", series.name);
        }
    }

    #[test]
    fn of_what_apt_says_the_first_complaint_is_kept() {
        let long = anyhow::anyhow!("`apt-get -o …` failed: 100\nW: hm\nE: no way\nE: none at all");
        assert_eq!(apts_word(&long), "no way");
        assert_eq!(apts_word(&anyhow::anyhow!("no such file")), "no such file");
    }
}
