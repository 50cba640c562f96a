//! What root in a container may still do: Docker's default list, which is also Fargate's ("KernelCapabilities" in the ECS
//! API reference).

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

/// Docker's default capabilities.
pub const KEPT: CapabilitySet = CapabilitySet::AUDIT_WRITE
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SYS_CHROOT);

/// Cuts the bounding set: no later exec can give back what is not in it.
pub fn bound() -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if KEPT.contains(capability) {
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
pub fn cut() -> Result<(), Errno> {
    let have = rustix::thread::capabilities(None)?;
    let sets = CapabilitySets {
        effective: have.effective.intersection(KEPT),
        permitted: have.permitted.intersection(KEPT),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(None, sets)
}
