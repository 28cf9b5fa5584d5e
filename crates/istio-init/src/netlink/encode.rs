//! Writing requests: messages in a packet, attributes in a message.
//!
//! Called by those who ask the kernel for something; pure. Lengths are filled in when what they
//! measure is complete.

/// One or more requests, sent at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Packet {
    bytes: Vec<u8>,
    sequence: u32,
    /// Where the last message begins.
    last: usize,
}

/// Length of a message's header (`struct nlmsghdr`).
pub(super) const MESSAGE_HEADER: usize = 16;
/// Length of an attribute's header (`struct nlattr`).
pub(super) const ATTRIBUTE_HEADER: usize = 4;
/// Everything begins at a multiple of this.
pub(super) const ALIGNMENT: usize = 4;
/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// Kinds of messages that belong to netlink itself (`linux/netlink.h`).
pub(super) mod kinds {
    /// An acknowledgement or a refusal.
    pub(in crate::netlink) const ERROR: u16 = 2;
    /// The end of a list.
    pub(in crate::netlink) const DONE: u16 = 3;
}

/// Flags of messages (`linux/netlink.h`).
pub(crate) mod flags {
    /// Every request has it.
    pub(crate) const REQUEST: u16 = 0x1;
    /// Ask for an acknowledgement.
    pub(crate) const ACKNOWLEDGE: u16 = 0x4;
    /// The list changed while it was being read.
    pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
    /// Ask for a list.
    pub(crate) const DUMP: u16 = 0x300;
    /// Fail if it is already there.
    pub(crate) const EXCLUSIVE: u16 = 0x200;
    /// Make it if it is not there.
    pub(crate) const CREATE: u16 = 0x400;
    /// Put it at the end.
    pub(crate) const APPEND: u16 = 0x800;
}

// === impl Packet ===

impl Packet {
    /// Appends a message with these flags, whose fixed part is `header` and whose attributes `fill`
    /// writes; returns its sequence number.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        with: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Self),
    ) -> u32 {
        let start = self.bytes.len();
        self.sequence += 1;
        self.last = start;
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((with | flags::REQUEST).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        // The port of the sender, which the kernel knows.
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(header);
        self.pad();
        fill(self);
        let length =
            u32::try_from(self.bytes.len() - start).expect("callers split what could get long");
        self.set(start, &length.to_ne_bytes());
        self.sequence
    }

    /// Asks for an acknowledgement of the message that was appended last.
    pub(crate) fn acknowledge_last(&mut self) {
        // The flags stand behind the length and the kind.
        let place = self.last + 6;
        let known = self
            .bytes
            .get(place..)
            .and_then(<[u8]>::first_chunk)
            .copied()
            .unwrap_or_default();
        self.set(
            place,
            &(u16::from_ne_bytes(known) | flags::ACKNOWLEDGE).to_ne_bytes(),
        );
    }

    /// Appends an attribute with these bytes.
    pub(crate) fn bytes_attribute(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |packet| packet.bytes.extend(value));
    }

    /// Appends an attribute with a name and the zero that ends it.
    pub(crate) fn name(&mut self, kind: u16, name: &str) {
        self.attribute(kind, |packet| {
            packet.bytes.extend(name.as_bytes());
            packet.bytes.push(0);
        });
    }

    /// Appends an attribute with a number in network byte order.
    pub(crate) fn number(&mut self, kind: u16, number: u32) {
        self.bytes_attribute(kind, &number.to_be_bytes());
    }

    /// Appends an attribute that holds what `fill` writes.
    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, fill);
    }

    /// What was written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let length =
            u16::try_from(self.bytes.len() - start).expect("callers split what could get long");
        self.set(start, &length.to_ne_bytes());
        self.pad();
    }

    fn set(&mut self, start: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(start..start + value.len()) {
            place.copy_from_slice(value);
        }
    }

    fn pad(&mut self) {
        self.bytes
            .resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}
