//! Forgets connections on a thread of its own: the kernel walks its whole table of connections for
//! each list, 9 ms and more however few they are, and no other change shall wait for that.
//!
//! What must stay true: an address comes back to a place only when its old connections are gone
//! there; `wait` sees to it. Nothing passes by an entry of an address that is gone meanwhile,
//! because the gates are shut first.

use super::netlink::Socket;
use super::{conntrack, namespace};
use crate::plan::Place;
use crate::program::Untracked;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc;

/// What to forget at one place.
#[derive(Debug, Default)]
struct Wanted {
    addresses: BTreeSet<IpAddr>,
    untracked: BTreeSet<Untracked>,
    tracked: BTreeSet<IpAddr>,
    tell: Vec<mpsc::Sender<io::Result<()>>>,
}

enum Order {
    Forget(Place, File, Wanted),
    /// The place is gone; an open socket would keep it.
    Close(Option<Place>),
}

/// What was ordered and is perhaps not yet done.
struct Pending {
    place: Place,
    addresses: BTreeSet<IpAddr>,
    done: mpsc::Receiver<io::Result<()>>,
}

pub(super) struct Forgetter {
    orders: mpsc::Sender<Order>,
    pending: Vec<Pending>,
}

impl Forgetter {
    pub fn start() -> io::Result<Self> {
        let (orders, queue) = mpsc::channel();
        std::thread::Builder::new()
            .name("conntrack".to_owned())
            .spawn(move || Worker::default().serve(&queue))?;
        Ok(Self {
            orders,
            pending: Vec::new(),
        })
    }

    pub fn forget(
        &mut self,
        place: &Place,
        namespace: File,
        addresses: &BTreeSet<IpAddr>,
        untracked: &BTreeSet<Untracked>,
        tracked: &BTreeSet<IpAddr>,
    ) -> io::Result<()> {
        self.pending
            .retain(|pending| !matches!(pending.done.try_recv(), Ok(Ok(()))));
        let (tell, done) = mpsc::channel();
        let wanted = Wanted {
            addresses: addresses.clone(),
            untracked: untracked.clone(),
            tracked: tracked.clone(),
            tell: vec![tell],
        };
        self.pending.push(Pending {
            place: place.clone(),
            addresses: addresses.clone(),
            done,
        });
        self.orders
            .send(Order::Forget(place.clone(), namespace, wanted))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns when nothing of that address is left there to forget.
    pub fn wait(&mut self, place: &Place, address: IpAddr) -> io::Result<()> {
        let mut outcome = Ok(());
        self.pending.retain(|pending| {
            if pending.place != *place || !pending.addresses.contains(&address) {
                return true;
            }
            let done = pending.done.recv();
            let ended = |_| Err(io::ErrorKind::BrokenPipe.into());
            if let Err(error) = done.unwrap_or_else(ended) {
                outcome = Err(error);
            }
            false
        });
        outcome
    }

    /// Lets go of a place, or of all.
    pub fn close(&mut self, place: Option<&Place>) {
        self.pending
            .retain(|pending| place.is_some_and(|place| pending.place != *place));
        // Its thread ends with us; there is nothing to close then.
        let _ = self.orders.send(Order::Close(place.cloned()));
    }
}

/// The thread's own state: a socket a place, as closing one takes the kernel 13 ms.
#[derive(Default)]
struct Worker {
    open: HashMap<Place, (Socket, File)>,
}

impl Worker {
    fn serve(mut self, queue: &mpsc::Receiver<Order>) {
        while let Ok(first) = queue.recv() {
            // Of what came meanwhile all of a place is done in one walk.
            let mut wanted: BTreeMap<Place, (File, Wanted)> = BTreeMap::new();
            for order in std::iter::once(first).chain(queue.try_iter()) {
                match order {
                    Order::Forget(place, file, more) => {
                        let all = wanted.entry(place).or_insert((file, Wanted::default()));
                        all.1.addresses.extend(more.addresses);
                        all.1.untracked.extend(more.untracked);
                        all.1.tracked.extend(more.tracked);
                        all.1.tell.extend(more.tell);
                    }
                    Order::Close(Some(place)) => {
                        self.open.remove(&place);
                        wanted.remove(&place);
                    }
                    Order::Close(None) => {
                        self.open.clear();
                        wanted.clear();
                    }
                }
            }
            for (place, (file, wanted)) in wanted {
                let outcome = self.forget(&place, &file, &wanted);
                if let Err(error) = &outcome {
                    tracing::error!(%place, %error, "connections are not forgotten");
                }
                for tell in &wanted.tell {
                    let copy = match &outcome {
                        Ok(()) => Ok(()),
                        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
                    };
                    // Nobody may wait for it.
                    let _ = tell.send(copy);
                }
            }
        }
    }

    fn forget(&mut self, place: &Place, file: &File, wanted: &Wanted) -> io::Result<()> {
        if !self.open.contains_key(place) {
            namespace::enter(file)?;
            let socket = Socket::open(libc::NETLINK_NETFILTER)?;
            let settings = namespace::settings_dir("netfilter")?;
            self.open.insert(place.clone(), (socket, settings));
        }
        let (socket, settings) = self.open.get_mut(place).expect("it was put there just now");
        if namespace::get_in(settings, "nf_conntrack_count").is_ok_and(|count| count == "0") {
            return Ok(());
        }
        let Wanted {
            addresses,
            untracked,
            tracked,
            ..
        } = wanted;
        conntrack::flush(socket, addresses, untracked, tracked).map(|_| ())
    }
}
