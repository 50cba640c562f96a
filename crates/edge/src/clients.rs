//! Who holds how many of a listener's connections, so that one client cannot take them all.
//!
//! Used by `dns::server` and `services::listeners`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Connections by client; clones share them.
#[derive(Clone)]
pub struct Clients {
    max: usize,
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection's place; free again when it is dropped.
pub struct Place {
    clients: Clients,
    client: IpAddr,
}

impl Clients {
    /// Each client may hold `max`; loopback stands for many and may hold any number.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            counts: Arc::default(),
        }
    }

    /// `None` if the client has too many already.
    pub fn admit(&self, client: IpAddr) -> Option<Place> {
        let mut counts = self.lock();
        let count = counts.entry(client).or_default();
        if *count >= self.max && !client.is_loopback() {
            return None;
        }
        *count += 1;
        Some(Place {
            clients: self.clone(),
            client,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.clients.lock();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_a_part_of_the_connections() {
        let clients = Clients::new(32);
        let [a, b] = [1, 2].map(|n| IpAddr::from([10, 0, 0, n]));
        let mut places: Vec<_> = (0..32).map(|_| clients.admit(a).unwrap()).collect();
        assert!(clients.admit(a).is_none());
        assert!(clients.admit(b).is_some());
        places.pop();
        assert!(clients.admit(a).is_some());
        drop(places);
        assert!(clients.lock().is_empty());
    }
}
