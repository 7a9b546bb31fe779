//! What a child becomes: everything that exec needs, laid out before the child is born.
//!
//! Whatever the child touches of our program before exec counts into its `ru_maxrss`, so it makes system calls and does
//! nothing else: no allocation, no formatting, no search of the environment.
#![allow(unsafe_code)]

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::ptr;

use nix::libc;

use super::wire::Order;

/// As `execvp(3)` has it where the environment has none.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

pub(super) struct Image {
    /// Where the program may be, in the order of `PATH`.
    candidates: Vec<CString>,
    /// Cannot be executed.
    nowhere: CString,
    argv: Words,
    env: Words,
    dir: Option<CString>,
}

/// Why exec did not happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) errno: i32,
    /// Index of the candidate that is to blame.
    pub(super) candidate: usize,
}

/// What a child says of itself: its high-water mark just before exec, then perhaps a refusal. `errno` 0: it is the former.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Word {
    pub(super) rss_kib: i32,
    pub(super) errno: i32,
    pub(super) candidate: i32,
}

pub(super) const WORD: usize = 12;

/// Strings as exec takes them: pointers to them, then a null.
struct Words {
    pointers: Vec<*const libc::c_char>,
    // What they point to.
    _words: Vec<CString>,
}

impl Image {
    pub(super) fn new(order: &Order) -> io::Result<Self> {
        let program = order.argv.first().map(String::as_str).unwrap_or_default();
        let env = environment(&order.env);
        let candidates = if program.contains('/') { vec![program.to_owned()] } else { in_path(program, &env) };
        Ok(Self {
            candidates: strings(candidates)?,
            nowhere: c"/".to_owned(),
            argv: Words::new(strings(order.argv.iter().cloned())?),
            env: Words::new(env.into_iter().map(entry).collect::<Result<_, _>>().map_err(invalid)?),
            dir: order.working_dir.clone().map(CString::new).transpose().map_err(invalid)?,
        })
    }

    pub(super) fn candidate(&self, index: usize) -> Option<&str> {
        self.candidates.get(index)?.to_str().ok()
    }

    /// In the child. `streams`: null device and log; without them all three are inherited.
    pub(super) fn enter(&self, cgroups: &[OwnedFd], streams: Option<(&OwnedFd, &OwnedFd)>, tell: RawFd) -> Refusal {
        let refused = |candidate| Refusal { errno: errno(), candidate };
        // SAFETY: descriptors are open, pointers are to strings that end with a null byte and outlive the calls.
        unsafe {
            for cgroup in cgroups {
                if libc::write(cgroup.as_raw_fd(), b"0".as_ptr().cast(), 1) != 1 {
                    return refused(0);
                }
            }
            if let Some((null, log)) = streams {
                let moved = [(null, 0), (log, 1), (log, 2)].iter().all(|(from, to)| libc::dup2(from.as_raw_fd(), *to) >= 0);
                if !moved || libc::setsid() < 0 {
                    return refused(0);
                }
            }
            if self.dir.as_ref().is_some_and(|dir| libc::chdir(dir.as_ptr()) != 0)
                || libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0
            {
                return refused(0);
            }
            // What the Rust runtime and the forker have set, as a program expects to find it.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let mut mask = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
            libc::sigemptyset(mask.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut());
            // What follows the measurement is touched before it: one fault may map a whole folio of the program's text.
            libc::write(tell, Word::default().bytes().as_ptr().cast(), WORD);
            self.execute(std::slice::from_ref(&self.nowhere));
            let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
            let rss_kib = i32::try_from(usage.assume_init().ru_maxrss).unwrap_or(i32::MAX);
            let word = Word { rss_kib, ..Word::default() }.bytes();
            // A forker that is gone asks for nothing.
            libc::write(tell, word.as_ptr().cast(), WORD);
            self.execute(&self.candidates)
        }
    }

    /// SAFETY: as above.
    unsafe fn execute(&self, candidates: &[CString]) -> Refusal {
        let mut refusal = Refusal { errno: libc::ENOENT, candidate: 0 };
        for (candidate, path) in candidates.iter().enumerate() {
            // SAFETY: as above; returns only if it failed.
            unsafe { libc::execve(path.as_ptr(), self.argv.pointers.as_ptr(), self.env.pointers.as_ptr()) };
            match errno() {
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
                // Another directory may have one that is permitted; if not, this is what is told.
                libc::EACCES => refusal = Refusal { errno: libc::EACCES, candidate },
                errno => return Refusal { errno, candidate },
            }
        }
        refusal
    }
}

impl Word {
    pub(super) fn bytes(self) -> [u8; WORD] {
        let mut bytes = [0; WORD];
        for (field, at) in [self.rss_kib, self.errno, self.candidate].iter().zip(bytes.chunks_exact_mut(4)) {
            at.copy_from_slice(&field.to_ne_bytes());
        }
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; WORD]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let field = i32::from_ne_bytes;
        Self { rss_kib: field([a, b, c, d]), errno: field([e, f, g, h]), candidate: field([i, j, k, l]) }
    }
}

impl Words {
    fn new(words: Vec<CString>) -> Self {
        let pointers = words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _words: words }
    }
}

/// Ours, with the order's put over it.
fn environment(more: &[(String, String)]) -> Vec<(OsString, OsString)> {
    let own = std::env::vars_os().filter(|(name, _)| !more.iter().any(|(given, _)| name.as_os_str() == given.as_str()));
    own.chain(more.iter().map(|(name, value)| (name.into(), value.into()))).collect()
}

fn in_path(program: &str, env: &[(OsString, OsString)]) -> Vec<String> {
    let path = env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH.into(), |(_, value)| value.clone());
    let candidate = |dir: std::path::PathBuf| {
        // An empty entry is the current directory.
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { &dir };
        dir.join(program).to_str().map(str::to_owned)
    };
    if program.is_empty() { Vec::new() } else { std::env::split_paths(&path).filter_map(candidate).collect() }
}

fn strings(texts: impl IntoIterator<Item = String>) -> io::Result<Vec<CString>> {
    texts.into_iter().map(CString::new).collect::<Result<_, _>>().map_err(invalid)
}

fn entry((name, value): (OsString, OsString)) -> Result<CString, std::ffi::NulError> {
    let mut entry = name.into_vec();
    entry.push(b'=');
    entry.extend(value.into_vec());
    CString::new(entry)
}

fn invalid(_nul: std::ffi::NulError) -> io::Error {
    io::Error::from_raw_os_error(libc::EINVAL)
}

fn errno() -> i32 {
    nix::errno::Errno::last_raw()
}
