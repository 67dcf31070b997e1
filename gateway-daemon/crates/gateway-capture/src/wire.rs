//! The types of gateway-common, as aya wants them: plain old data.
use aya::Pod;

/// A value of a map. `repr(transparent)`, so it has the layout of what is inside.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<T: Copy + 'static>(pub(crate) T);

macro_rules! plain {
    ($($kind:ty),+ $(,)?) => {
        $(
            // SAFETY: `repr(C)`, of integers and arrays of integers, without padding and without
            // pointers: any bytes are a value, and every byte of a value is initialised.
            #[allow(unsafe_code)]
            unsafe impl Pod for Wire<$kind> {}
        )+
    };
}

plain!(
    gateway_common::config::Config,
    gateway_common::config::Failures,
    gateway_common::config::Listeners,
    gateway_common::config::Offsets,
    gateway_common::config::SealOffsets,
    gateway_common::config::Slot,
    gateway_common::flow::Dial,
    gateway_common::flow::Flow,
    gateway_common::flow::Handshake,
    gateway_common::flow::Mark,
    gateway_common::glob::Table,
    gateway_common::guard::FileId,
    gateway_common::guard::Lesson,
    gateway_common::socket::Owner,
    gateway_common::socket::UnixName,
    gateway_common::tag::Tag,
);

/// Reads a value off the front of bytes that the kernel wrote.
macro_rules! reader {
    ($name:ident, $kind:ty) => {
        pub(crate) fn $name(bytes: &[u8]) -> Option<($kind, &[u8])> {
            let (head, rest) = bytes.split_at_checked(size_of::<$kind>())?;
            // SAFETY: as many bytes as the type has; plain data, so any bytes are a value.
            #[allow(unsafe_code)]
            let value = unsafe { head.as_ptr().cast::<$kind>().read_unaligned() };
            Some((value, rest))
        }
    };
}

reader!(read_event, gateway_common::event::Event);
reader!(read_refused, gateway_common::event::Refused);
reader!(read_scanned, gateway_common::scan::Scanned);

const _: () = {
    // No padding: the sizes are the sums of the fields.
    assert!(size_of::<gateway_common::flow::Flow>() == 16 * 2 + 8 * 5 + 4 * 3 + 2 * 2);
    assert!(size_of::<gateway_common::flow::Handshake>() == 8 + 16 + 4 * 2);
    assert!(size_of::<gateway_common::config::Listeners>() == 4 * 2 + 4 * 4 * 2);
    assert!(size_of::<gateway_common::socket::UnixName>() == 4 + 128);
    assert!(size_of::<gateway_common::tag::Tag>() == 8 * 3 + 4 * 2);
    assert!(size_of::<gateway_common::config::Config>() == 8 * 6 + 4 * 2);
    assert!(size_of::<gateway_common::config::Slot>() == 8 * 2 + 4 * 4);
    assert!(size_of::<gateway_common::event::Event>() == 4 * 2 + 8 * 5 + 4 * 6);
};
