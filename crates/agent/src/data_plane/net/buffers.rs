//! The buffers of one worker, lent to connections while they hold bytes.
//!
//! A connection that waits holds none, so thousands of idle ones cost nothing here, and the few buffers that are in use stay in the
//! processor's cache. Buffers that a burst needed are given back to the allocator by [`Buffers::trim`].

use std::cell::{Cell, RefCell};

use super::splice::Pipes;

/// Sizes of buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Size {
    /// 2 KiB: a request that waits for its answer.
    Tiny,
    /// 16 KiB: a head with its first body bytes, most answers.
    #[default]
    Small,
    /// 64 KiB and a little: bulk. Four times fewer system calls than small ones, and it still fits into the second-level cache.
    Large,
}

/// Free buffers, by size.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    tiny: Shelf,
    small: Shelf,
    large: Shelf,
    /// Large buffers that are lent at the moment.
    n_large: Cell<usize>,
    pipes: Pipes,
}

/// Most large buffers that are lent at a time, 8 MiB: slow readers must not make the proxy hold large ones without end.
const MAX_LARGE: usize = 128;

#[derive(Debug, Default)]
struct Shelf {
    free: RefCell<Vec<Vec<u8>>>,
    /// Fewest free buffers since the last trim: so many nobody needed.
    unused: Cell<usize>,
}

// === impl Size ===

impl Size {
    /// What a buffer of this size holds.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Self::Tiny => 2 * 1024,
            Self::Small => 16 * 1024,
            // Not a power of two, so that a small buffer that has grown is not taken for one.
            Self::Large => 64 * 1024 + 64,
        }
    }

    /// The size for the next read of a flow whose last one gave `n` bytes where there was `room`.
    ///
    /// Records of TLS seldom fill a large buffer to its last byte, so what would fill a small one is bulk, too.
    pub(crate) fn next(n: usize, room: usize) -> Self {
        if n >= room.min(Self::Small.bytes()) {
            Self::Large
        } else {
            Self::Small
        }
    }
}

// === impl Buffers ===

impl Buffers {
    /// An empty buffer of `size`, or a small one where too many large ones are in use.
    pub(crate) fn take(&self, size: Size) -> Vec<u8> {
        let size = match size {
            Size::Large if self.n_large.get() >= MAX_LARGE => Size::Small,
            size => size,
        };
        if size == Size::Large {
            self.n_large.set(self.n_large.get() + 1);
        }
        let taken = self.shelf(size).take();
        taken.unwrap_or_else(|| Vec::with_capacity(size.bytes()))
    }

    /// The bytes in a buffer that fits them, where they are few and have to stay for a while.
    ///
    /// The buffer that they were read into serves the next connection at once, still warm in the processor's cache.
    pub(crate) fn settled(&self, buffer: Vec<u8>) -> Vec<u8> {
        if buffer.len() > Size::Tiny.bytes() || buffer.capacity() != Size::Small.bytes() {
            return buffer;
        }
        let mut settled = self.take(Size::Tiny);
        settled.extend_from_slice(&buffer);
        self.give(buffer);
        settled
    }

    /// The buffer with more room, for a head that does not fit.
    pub(crate) fn grown(&self, buffer: Vec<u8>) -> Vec<u8> {
        let mut grown = if buffer.capacity() < Size::Small.bytes() {
            self.take(Size::Small)
        } else {
            Vec::with_capacity(buffer.capacity() * 2)
        };
        grown.extend_from_slice(&buffer);
        self.give(buffer);
        grown
    }

    /// Takes a buffer back; one that has grown or shrunk goes to the allocator instead.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == Size::Large.bytes() {
            self.n_large.set(self.n_large.get().saturating_sub(1));
        }
        let shelf = match buffer.capacity() {
            capacity if capacity == Size::Tiny.bytes() => &self.tiny,
            capacity if capacity == Size::Small.bytes() => &self.small,
            capacity if capacity == Size::Large.bytes() => &self.large,
            _ => return,
        };
        buffer.clear();
        shelf.free.borrow_mut().push(buffer);
    }

    /// Gives what nobody needed since the last call to the allocator, or the kernel; called about once a second.
    pub(crate) fn trim(&self) {
        self.pipes.trim();
        self.tiny.trim();
        self.small.trim();
        self.large.trim();
    }

    /// Pipes, for bytes that need no buffer.
    pub(crate) fn pipes(&self) -> &Pipes {
        &self.pipes
    }

    fn shelf(&self, size: Size) -> &Shelf {
        match size {
            Size::Tiny => &self.tiny,
            Size::Small => &self.small,
            Size::Large => &self.large,
        }
    }
}

// === impl Shelf ===

impl Shelf {
    fn take(&self) -> Option<Vec<u8>> {
        let mut free = self.free.borrow_mut();
        let buffer = free.pop();
        self.unused.set(self.unused.get().min(free.len()));
        buffer
    }

    fn trim(&self) {
        let mut free = self.free.borrow_mut();
        let keep = free.len() - self.unused.get().min(free.len());
        free.truncate(keep);
        free.shrink_to_fit();
        self.unused.set(free.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_lent_again() {
        let buffers = Buffers::default();
        let mut first = buffers.take(Size::Small);
        first.extend_from_slice(b"bytes");
        let place = first.as_ptr();
        buffers.give(first);
        let again = buffers.take(Size::Small);
        assert!(again.is_empty());
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn a_few_bytes_that_stay_do_not_keep_the_buffer_that_they_were_read_into() {
        let buffers = Buffers::default();
        let mut read = buffers.take(Size::Small);
        read.extend_from_slice(b"request");
        let place = read.as_ptr();
        let settled = buffers.settled(read);
        assert_eq!(settled, b"request");
        let mut many = buffers.take(Size::Small);
        assert_eq!(many.as_ptr(), place, "it is lent again at once");
        many.resize(Size::Tiny.bytes() + 1, 0);
        let many = buffers.settled(many);
        assert_eq!(many.as_ptr(), place, "too much to be copied");
        assert_eq!(buffers.grown(settled).capacity(), Size::Small.bytes());
    }

    #[test]
    fn what_a_burst_needed_is_given_back() {
        let buffers = Buffers::default();
        let burst: Vec<_> = (0..8).map(|_| buffers.take(Size::Large)).collect();
        burst.into_iter().for_each(|buffer| buffers.give(buffer));
        buffers.trim();
        assert_eq!(buffers.large.free.borrow().len(), 8, "they were all in use");
        buffers.give(buffers.take(Size::Large));
        buffers.trim();
        assert_eq!(buffers.large.free.borrow().len(), 1);
    }

    #[test]
    fn large_buffers_are_few() {
        let buffers = Buffers::default();
        let lent: Vec<_> = (0..=MAX_LARGE).map(|_| buffers.take(Size::Large)).collect();
        let n_large = |lent: &[Vec<u8>]| {
            lent.iter()
                .filter(|buffer| buffer.capacity() == Size::Large.bytes())
                .count()
        };
        assert_eq!(n_large(&lent), MAX_LARGE);
        lent.into_iter().for_each(|buffer| buffers.give(buffer));
        assert_eq!(n_large(&[buffers.take(Size::Large)]), 1);
    }

    #[test]
    fn a_buffer_that_has_grown_is_not_kept() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take(Size::Small);
        buffer.reserve_exact(40_000);
        buffers.give(buffer);
        assert!(buffers.small.free.borrow().is_empty());
    }
}
