//! The system call filter: Docker's default profile (moby/profiles/seccomp) for the capabilities that a container keeps.

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::thread::CapabilitySet;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::syscalls::{ALLOWED, WITH_SYS_PTRACE};
use super::{SandboxError, clone};

/// Two programs: the kernel takes the stricter answer of both.
#[derive(Clone)]
pub struct Filter {
    allow: BpfProgram,
    /// clone3 hides its flags behind a pointer where no filter can look; ENOSYS makes libraries use clone instead.
    hide_clone3: BpfProgram,
}

/// Every CLONE_NEW* flag that clone takes (moby's mask).
const NAMESPACES: u64 = 0x7E02_0000;
/// A socket family that reaches the hypervisor, past every network namespace.
const AF_VSOCK: u64 = 40;

/// Builds the filter for this machine and these capabilities.
pub fn compile(kept: CapabilitySet) -> Result<Filter, SandboxError> {
    build(kept).map_err(|error| SandboxError::System {
        operation: "build the system call filter".to_owned(),
        source: std::io::Error::other(error),
    })
}

fn build(kept: CapabilitySet) -> Result<Filter, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|number| (*number, Vec::new())).collect();
    if kept.contains(CapabilitySet::SYS_PTRACE) {
        rules.extend(WITH_SYS_PTRACE.map(|number| (number, Vec::new())));
    }
    if !kept.contains(CapabilitySet::SYS_CHROOT) {
        rules.remove(&libc::SYS_chroot);
    }
    let compare = |length, operator, value| {
        SeccompCondition::new(0, length, operator, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let argument = |operator, value| compare(SeccompCmpArgLen::Qword, operator, value);
    rules.insert(
        libc::SYS_clone,
        vec![argument(SeccompCmpOp::MaskedEq(NAMESPACES), 0)?],
    );
    rules.insert(
        libc::SYS_socket,
        // The kernel takes an int: whatever stands in the upper half must not make the family look like another.
        vec![compare(
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            AF_VSOCK,
        )?],
    );
    let personalities = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];
    let personalities = personalities
        .iter()
        .map(|value| argument(SeccompCmpOp::Eq, *value));
    rules.insert(
        libc::SYS_personality,
        personalities.collect::<Result<_, _>>()?,
    );
    rules.insert(libc::SYS_clone3, Vec::new());
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let allow =
        SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture)?.try_into()?;
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let hide_clone3 =
        SeccompFilter::new(clone3, SeccompAction::Allow, missing, architecture)?.try_into()?;
    Ok(Filter { allow, hide_clone3 })
}

impl Filter {
    /// Applies it to the calling process, for good; it needs CAP_SYS_ADMIN in its user namespace, or no_new_privs.
    pub fn apply(&self) -> Result<(), Errno> {
        clone::install_filter(&self.hide_clone3)?;
        clone::install_filter(&self.allow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_builds_for_this_machine() {
        let filter = compile(CapabilitySet::SYS_CHROOT).unwrap();
        assert!(filter.allow.len() > ALLOWED.len() && filter.allow.len() < 4096);
        let none = compile(CapabilitySet::empty()).unwrap();
        assert!(none.allow.len() < filter.allow.len());
        let traces = compile(CapabilitySet::SYS_CHROOT | CapabilitySet::SYS_PTRACE).unwrap();
        assert!(traces.allow.len() > filter.allow.len());
    }

    /// The errno of `socket` under the filter; the filter is the thread's own and ends with it.
    #[allow(unsafe_code)]
    fn socket_under_filter(family: u64) -> Option<i32> {
        let filter = compile(CapabilitySet::empty()).unwrap();
        let tried = std::thread::spawn(move || {
            rustix::thread::set_no_new_privs(true).unwrap();
            filter.apply().unwrap();
            // SAFETY: no pointers are passed; a descriptor that comes back is closed at once.
            unsafe {
                let made = libc::syscall(libc::SYS_socket, family, libc::SOCK_STREAM, 0);
                if made < 0 {
                    return std::io::Error::last_os_error().raw_os_error();
                }
                libc::close(i32::try_from(made).unwrap());
                None
            }
        });
        tried.join().unwrap()
    }

    #[test]
    fn the_hypervisor_is_out_of_reach_however_its_family_is_written() {
        assert_eq!(socket_under_filter(libc::AF_INET as u64), None);
        for family in [AF_VSOCK, AF_VSOCK | 1 << 32, AF_VSOCK | 1 << 63] {
            assert_eq!(
                socket_under_filter(family),
                Some(libc::EPERM),
                "{family:#x}"
            );
        }
    }

    #[test]
    fn what_reaches_the_host_is_not_on_the_list() {
        for number in [
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_bpf,
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_kexec_load,
            libc::SYS_reboot,
            libc::SYS_swapon,
            libc::SYS_pivot_root,
            libc::SYS_open_by_handle_at,
            libc::SYS_perf_event_open,
            libc::SYS_keyctl,
            libc::SYS_add_key,
            libc::SYS_userfaultfd,
            libc::SYS_io_uring_setup,
            libc::SYS_fsopen,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_settimeofday,
            libc::SYS_acct,
            libc::SYS_syslog,
            libc::SYS_clone3,
            libc::SYS_quotactl,
            libc::SYS_mount_setattr,
            libc::SYS_process_madvise,
            libc::SYS_pidfd_getfd,
            libc::SYS_kcmp,
        ] {
            assert!(!ALLOWED.contains(&number), "{number}");
        }
    }
}
