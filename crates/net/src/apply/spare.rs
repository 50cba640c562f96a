//! Namespaces made ahead, so that an interface does not wait for its own.
//!
//! Making one and giving it its settings takes the kernel up to 3 ms among a thousand others. A
//! thread of its own keeps a few ready, with the settings that the last interface's namespace got.
//! They have no name: they end with this process, and nobody can mistake them for a resource.

use super::namespace;
use super::netlink::Socket;
use super::route;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::mpsc;

pub(super) type Settings = BTreeMap<String, String>;

/// How many are ready at most: tasks mostly come in small numbers.
const READY: usize = 4;

/// A namespace without a name, its loopback up, with those settings made.
pub(super) struct Spare {
    pub file: File,
    pub settings: Settings,
}

pub(super) struct Spares {
    orders: mpsc::Sender<Settings>,
    made: mpsc::Receiver<Option<Spare>>,
    ready: Vec<Spare>,
    ordered: usize,
}

impl Spares {
    pub fn start() -> io::Result<Self> {
        let (orders, queue) = mpsc::channel::<Settings>();
        let (maker, made) = mpsc::channel();
        std::thread::Builder::new()
            .name("spare namespaces".to_owned())
            .spawn(move || {
                while let Ok(settings) = queue.recv() {
                    // One that cannot be made is missed by nobody: its taker makes its own, and tells why.
                    if maker.send(make(settings).ok()).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            orders,
            made,
            ready: Vec::new(),
            ordered: 0,
        })
    }

    /// One that has no settings but of these, and others for those to come.
    pub fn take(&mut self, wanted: &Settings) -> Option<Spare> {
        while let Ok(made) = self.made.try_recv() {
            self.ordered -= 1;
            self.ready.extend(made);
        }
        let fits = |spare: &Spare| {
            let mut settings = spare.settings.iter();
            settings.all(|(path, value)| wanted.get(path) == Some(value))
        };
        self.ready.retain(fits);
        let taken = self.ready.pop();
        while self.ready.len() + self.ordered < READY {
            if self.orders.send(wanted.clone()).is_err() {
                break;
            }
            self.ordered += 1;
        }
        taken
    }
}

fn make(mut settings: Settings) -> io::Result<Spare> {
    const LOOPBACK: u32 = 1;
    namespace::isolate()?;
    let file = namespace::current()?;
    let mut socket = Socket::open(libc::NETLINK_ROUTE)?;
    for outcome in socket.exchange(vec![route::set_up(LOOPBACK)])? {
        outcome.map_err(|refusal| io::Error::from_raw_os_error(refusal.errno))?;
    }
    // What cannot be set is left to the taker.
    settings.retain(|path, value| namespace::set(path, value).is_ok());
    Ok(Spare { file, settings })
}
