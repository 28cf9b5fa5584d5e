//! What the book lets go of: addresses that nobody uses, and what came along with them.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::{Asked, Book, MOST_ASKED, index::name_of};
use crate::discovery::client::Client;

/// How long an address stays that nobody uses: longer than most pauses between two calls, shorter than a working day's drift.
pub(super) const IDLE: Duration = Duration::from_secs(10 * 60);
/// What has been used so recently may still be in use: twice the time between two reports of the workers.
pub(super) const RECENT: Duration = Duration::from_secs(60);

// === impl Book ===

impl Book {
    /// Lets go of what nobody has used for long, and of what came along with it.
    pub fn sweep(&mut self, client: &mut Client, now: Instant) -> bool {
        let idle: Vec<IpAddr> = self
            .asked
            .iter()
            .filter(|(_, asked)| !asked.is_pinned && age(asked, now) > IDLE)
            .map(|(address, _)| *address)
            .collect();
        for address in &idle {
            self.close(*address, client);
        }
        self.follow_parents(client);
        self.forget_strangers(client)
    }

    fn close(&mut self, address: IpAddr, client: &mut Client) {
        client.unsubscribe(&name_of(address));
        self.asked.remove(&address);
        self.is_changed = true;
    }

    /// Lets go of the addresses that have been unused for longest, if there is no room for another one.
    pub(super) fn make_room(&mut self, client: &mut Client, now: Instant) -> bool {
        if self.asked.len() < MOST_ASKED {
            return true;
        }
        let mut unused: Vec<(Duration, IpAddr)> = self
            .asked
            .iter()
            .filter(|(_, asked)| !asked.is_pinned && age(asked, now) > RECENT)
            .map(|(address, asked)| (age(asked, now), *address))
            .collect();
        unused.sort_unstable_by(|a, b| b.cmp(a));
        // Some at once, so that the next ones find room without another look.
        for (_, address) in unused.iter().take(MOST_ASKED / 16) {
            self.close(*address, client);
        }
        self.asked.len() < MOST_ASKED
    }

    /// Lets go of resources that nothing which is asked about leads to; whether there were any.
    fn forget_strangers(&mut self, client: &mut Client) -> bool {
        let is_asked = |address| self.asked.contains_key(&address);
        let strangers = self.index.strangers(is_asked, &self.parents);
        for name in &strangers {
            self.index.erase(name);
            client.forget(name);
        }
        !strangers.is_empty()
    }
}

fn age(asked: &Asked, now: Instant) -> Duration {
    now.saturating_duration_since(asked.last_used)
}
