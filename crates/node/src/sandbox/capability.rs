//! What root in a container may still do: Docker's default list, less what a task definition drops. Fargate adds nothing to it
//! but SYS_PTRACE. <https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_KernelCapabilities.html>

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::spec::Capabilities;

/// Docker's default capabilities.
const DEFAULT: [(&str, CapabilitySet); 14] = [
    ("AUDIT_WRITE", CapabilitySet::AUDIT_WRITE),
    ("CHOWN", CapabilitySet::CHOWN),
    ("DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("FOWNER", CapabilitySet::FOWNER),
    ("FSETID", CapabilitySet::FSETID),
    ("KILL", CapabilitySet::KILL),
    ("MKNOD", CapabilitySet::MKNOD),
    ("NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE),
    ("NET_RAW", CapabilitySet::NET_RAW),
    ("SETFCAP", CapabilitySet::SETFCAP),
    ("SETGID", CapabilitySet::SETGID),
    ("SETPCAP", CapabilitySet::SETPCAP),
    ("SETUID", CapabilitySet::SETUID),
    ("SYS_CHROOT", CapabilitySet::SYS_CHROOT),
];

/// First what is dropped, then what is added; to add `ALL` is to add the default list. A dropped one that is not on the list
/// is not there anyway.
pub fn kept(changes: &Capabilities) -> Result<CapabilitySet, String> {
    let mut kept = CapabilitySet::empty();
    for (name, capability) in DEFAULT {
        let dropped = changes
            .drop
            .iter()
            .any(|drop| drop == name || drop == "ALL");
        let added = changes.add.iter().any(|add| add == name);
        if added || !dropped {
            kept |= capability;
        }
    }
    for name in &changes.add {
        if name == "SYS_PTRACE" {
            kept |= CapabilitySet::SYS_PTRACE;
        } else if name != "ALL" && !DEFAULT.iter().any(|(known, _)| known == name) {
            return Err(format!("capability {name} can't be added"));
        }
    }
    Ok(kept)
}

/// Cuts the bounding set: no later exec can give back what is not in it.
pub fn bound(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // Beyond the last capability that the kernel knows.
            Err(Errno::INVAL) => break,
            other => other?,
        }
    }
    Ok(())
}

/// Cuts the caller's own sets. After the user is set: for any other user than root the kernel has emptied them already.
pub fn cut(kept: CapabilitySet) -> Result<(), Errno> {
    let have = rustix::thread::capabilities(None)?;
    let sets = CapabilitySets {
        effective: have.effective.intersection(kept),
        permitted: have.permitted.intersection(kept),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(None, sets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(add: &[&str], drop: &[&str]) -> Result<u64, String> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        kept(&Capabilities {
            add: names(add),
            drop: names(drop),
        })
        .map(|kept| kept.bits())
    }

    #[test]
    fn changes_apply_to_dockers_default_list() {
        const DEFAULT: u64 = 0xa804_25fb;
        const PTRACE: u64 = 1 << 19;
        assert_eq!(mask(&[], &[]), Ok(DEFAULT));
        assert_eq!(mask(&["SYS_PTRACE"], &[]), Ok(DEFAULT | PTRACE));
        assert_eq!(mask(&["SYS_PTRACE"], &["ALL"]), Ok(PTRACE));
        assert_eq!(mask(&["CHOWN"], &["ALL"]), Ok(1));
        assert_eq!(mask(&["ALL"], &["CHOWN"]), Ok(DEFAULT & !1));
        assert_eq!(
            mask(&[], &["NET_RAW", "SYS_ADMIN"]),
            Ok(DEFAULT & !(1 << 13))
        );
        for bad in ["SYS_ADMIN", "NET_ADMIN", "BPF", "sys_ptrace"] {
            assert!(mask(&[bad], &[]).is_err(), "{bad}");
        }
    }
}
