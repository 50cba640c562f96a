//! What `ps` shows of a process that was forked and never executed.
//!
//! Written over the words that its parent was executed with, because to tell the kernel another place takes a capability
//! (CAP_SYS_RESOURCE) that not every machine gives. [`ROOM`] among those words is what makes them long enough.

#![allow(unsafe_code)]

use std::ffi::CString;

/// A word for the parent's command line: as much room as a bundle's path and some words take.
pub const ROOM: &str = match std::str::from_utf8(&[b' '; 512]) {
    Ok(spaces) => spaces,
    Err(_) => "",
};

/// Gives the calling process these arguments, and the name of the program for its short name. What doesn't fit is cut, what
/// can't be done is left: only people and tests look at it. The calling process is single-threaded and asks for its own
/// arguments no more.
pub fn set_title(arguments: &[&str]) {
    if let Some((begin, end)) = own_words() {
        let mut text = arguments.join("\0").into_bytes();
        text.truncate(end.saturating_sub(begin).saturating_sub(1));
        let (place, length) = (begin as *mut u8, end.saturating_sub(begin));
        // SAFETY: the kernel put the words there when the program was executed, writable and of that length; nothing else of
        // this process reads them any more.
        unsafe {
            std::ptr::write_bytes(place, 0, length);
            std::ptr::copy_nonoverlapping(text.as_ptr(), place, text.len());
        }
    }
    if let Some(name) = arguments.first().and_then(|name| CString::new(*name).ok()) {
        // SAFETY: the name is a terminated string, which the kernel copies.
        unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
    }
}

/// Fields 48 and 49 of /proc/self/stat, see proc(5); the name in parentheses may hold spaces.
fn own_words() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(45);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
