//! What kind of file system a directory is on, where the operating system tells.

use std::path::Path;

/// Whether the directory is on ext4.
#[cfg(target_os = "linux")]
pub(super) fn is_on_ext4(directory: &Path) -> bool {
    use std::fs;
    use std::os::linux::fs::MetadataExt as _;
    let Ok(metadata) = fs::metadata(directory) else {
        return false;
    };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    kind_of(metadata.st_dev(), &mounts) == Some("ext4")
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_on_ext4(_directory: &Path) -> bool {
    false
}

/// The kind of the file system on this device, from the text of `/proc/self/mountinfo` (proc(5)): the
/// third field of a line is the device, and the first behind a lone hyphen the kind.
#[cfg_attr(
    not(any(target_os = "linux", test)),
    expect(dead_code, reason = "only Linux has such a list")
)]
fn kind_of(device: u64, mounts: &str) -> Option<&str> {
    let major = (device >> 8 & 0xFFF) | (device >> 32 & 0xFFFF_F000);
    let minor = (device & 0xFF) | (device >> 12 & 0xFFFF_FF00);
    let device = format!("{major}:{minor}");
    let line = mounts
        .lines()
        .find(|line| line.split(' ').nth(2) == Some(&device))?;
    let (_, behind) = line.split_once(" - ")?;
    behind.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_known_by_its_device() {
        let mounts = "\
            22 1 253:16 / / rw,relatime shared:1 - ext4 /dev/root rw,discard\n\
            40 22 0:35 / /a\\040-\\040b rw - tmpfs tmpfs rw\n\
            41 22 259:70000 / /data rw shared:9 master:2 - xfs /dev/nvme0n1 rw\n\
            half a line";
        assert_eq!(kind_of(253 << 8 | 16, mounts), Some("ext4"));
        assert_eq!(kind_of(35, mounts), Some("tmpfs"));
        let (low, high) = (0x70, 0x111 << 20);
        assert_eq!(kind_of(259 << 8 | low | high, mounts), Some("xfs"));
        assert_eq!(kind_of(36, mounts), None);
        assert_eq!(kind_of(253 << 8 | 16, ""), None);
    }
}
