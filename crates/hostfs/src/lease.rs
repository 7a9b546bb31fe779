//! Whether anybody has a file open for writing: the kernel grants a read lease only on a file that nobody writes.
//!
//! In: an open regular file, opened for reading. Out: yes, no, or that it cannot be told here. Nothing is left behind.

use std::{fs::File, io, os::fd::AsRawFd};

use nix::{errno::Errno, libc};

/// `<asm-generic/fcntl.h>`; the libc crate has it for one architecture only.
const F_SETSIG: libc::c_int = 10;

/// Whether some process, or some mapping, may still write to the file. `Ok(None)`: its file system knows no leases, or this
/// process may take none (it must own the file or have `CAP_LEASE`).
///
/// The lease is held for a moment. Who opens the file for writing in that moment waits until it is given back, and the kernel
/// signals the holder. By default that is SIGIO, which ends a process without a handler; here it is SIGURG, which is ignored by
/// default. So no handler is needed, and a process that handles SIGURG gets one now and then.
///
/// The file must not be open for writing through `file` itself: that counts.
pub fn has_writer(file: &File) -> io::Result<Option<bool>> {
    match fcntl(file, F_SETSIG, libc::SIGURG).and_then(|()| fcntl(file, libc::F_SETLEASE, libc::F_RDLCK)) {
        Ok(()) => fcntl(file, libc::F_SETLEASE, libc::F_UNLCK).map(|()| Some(false)).map_err(io::Error::from),
        Err(Errno::EAGAIN) => Ok(Some(true)),
        Err(Errno::EINVAL | Errno::EACCES | Errno::EPERM | Errno::ENOTSUP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// `nix` knows neither of the two commands.
#[allow(unsafe_code, reason = "no safe wrapper of these commands exists")]
fn fcntl(file: &File, command: libc::c_int, argument: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for the length of the call, and both commands take an int and touch no memory of ours.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), command, argument) }).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, OpenOptions},
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn a_writer_is_seen_until_it_closes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(has_writer(&reader).unwrap(), Some(true));
        let second = writer.try_clone().unwrap();
        drop(writer);
        assert_eq!(has_writer(&reader).unwrap(), Some(true), "a duplicate of the descriptor still writes");
        drop(second);
        assert_eq!(has_writer(&reader).unwrap(), Some(false));
    }

    #[test]
    fn a_writer_through_another_name_is_seen_also_after_the_first_name_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("0.log"), dir.path().join("spooled"));
        let writer = File::create(&path).unwrap();
        fs::hard_link(&path, &link).unwrap();
        fs::remove_file(&path).unwrap();
        let reader = File::open(&link).unwrap();
        assert_eq!(has_writer(&reader).unwrap(), Some(true));
        drop(writer);
        assert_eq!(has_writer(&reader).unwrap(), Some(false));
    }

    #[test]
    fn what_cannot_have_a_lease_is_not_guessed() {
        assert_eq!(has_writer(&File::open(std::env::temp_dir()).unwrap()).unwrap(), None, "a directory");
    }

    /// The signal of a broken lease must not end the process, and the one that opens must not be refused.
    #[test]
    fn a_writer_that_comes_while_we_look_is_neither_refused_nor_fatal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        drop(File::create(&path).unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    drop(OpenOptions::new().append(true).open(&path).unwrap());
                }
                done.store(true, Ordering::Relaxed);
            });
            let reader = File::open(&path).unwrap();
            while !done.load(Ordering::Relaxed) {
                assert!(has_writer(&reader).unwrap().is_some());
            }
        });
    }
}
