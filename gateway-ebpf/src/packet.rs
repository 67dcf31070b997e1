//! What is read of a packet's headers by the hooks that see packets.
use crate::maps::SOCKETS;
use crate::storage;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_skb_load_bytes};
use aya_ebpf::programs::SkBuffContext;
use core::mem::MaybeUninit;
use core::ptr;
use gateway_common::address::{self, Ip};
use gateway_common::flow::Flow;

/// The loopback device has this index in every network namespace (LOOPBACK_IFINDEX).
const LOOPBACK: u32 = 1;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;
/// The length of an IPv4 header without options, and of an IPv6 header without extensions.
const HEADER4: u32 = 20;
const HEADER6: u32 = 40;
/// TCP: the connection is reset.
const RST: u8 = 4;

/// What a packet's socket is to us. Of none, or of one in TIME_WAIT or a request, is nothing stored.
#[inline(always)]
pub(crate) fn flow(ctx: &SkBuffContext) -> *mut Flow {
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return ptr::null_mut();
    }
    storage::get(&SOCKETS, socket.cast())
}

/// The socket of a packet, all of it. Null: as above.
#[inline(always)]
pub(crate) fn socket(ctx: &SkBuffContext) -> *mut bpf_sock {
    // SAFETY: a field of the context.
    let socket = unsafe { (*ctx.skb.skb).__bindgen_anon_2.sk };
    if socket.is_null() {
        return socket;
    }
    // SAFETY: not null.
    unsafe { bpf_sk_fullsock(socket) }
}

/// Is it certainly TCP? Looks at what lies in one piece, without a call: hardly any packet does not.
#[inline(always)]
pub(crate) fn is_plainly_stream(ctx: &SkBuffContext) -> bool {
    // SAFETY: fields of the context.
    let (start, end) = unsafe {
        let start = ptr::read_volatile(&raw const (*ctx.skb.skb).data);
        let end = ptr::read_volatile(&raw const (*ctx.skb.skb).data_end);
        (start as usize as *const u8, end as usize)
    };
    if start as usize + HEADER4 as usize > end {
        return false;
    }
    // SAFETY: within the packet, as the verifier has seen.
    unsafe {
        match *start >> 4 {
            4 => *start.add(9) == IPPROTO_TCP,
            6 => *start.add(6) == IPPROTO_TCP,
            _ => false,
        }
    }
}

/// What is read of a packet's header.
pub(crate) struct Packet {
    pub(crate) destination: Ip,
    protocol: u8,
    /// The length of the header, and with that where the next one begins.
    header: u32,
}

impl Packet {
    /// Is it TCP?
    #[inline(always)]
    pub(crate) fn is_stream(&self) -> bool {
        self.protocol == IPPROTO_TCP
    }

    /// Is it UDP?
    #[inline(always)]
    pub(crate) fn is_datagram(&self) -> bool {
        self.protocol == IPPROTO_UDP
    }

    /// Which version of IP it is.
    #[inline(always)]
    pub(crate) fn family(&self) -> u16 {
        if self.header == HEADER4 { 4 } else { 6 }
    }

    /// Does anything follow behind the header of TCP, whose length is in words of four bytes?
    #[inline(always)]
    pub(crate) fn has_payload(&self, ctx: &SkBuffContext) -> bool {
        let Some(offset) = load::<u8>(ctx, self.header + 12) else {
            return true;
        };
        let headers = self.header + u32::from(offset >> 4) * 4;
        // SAFETY: a field of the context.
        unsafe { (*ctx.skb.skb).len > headers }
    }

    /// Where it comes from.
    #[inline(always)]
    pub(crate) fn source(&self, ctx: &SkBuffContext) -> Option<Ip> {
        if self.header == HEADER4 {
            load::<u32>(ctx, 12).map(address::mapped)
        } else {
            load::<Ip>(ctx, 8)
        }
    }

    /// The ports, which begin behind the header: source and destination.
    #[inline(always)]
    pub(crate) fn ports(&self, ctx: &SkBuffContext) -> Option<(u16, u16)> {
        let source = load::<u16>(ctx, self.header)?;
        let destination = load::<u16>(ctx, self.header + 2)?;
        Some((u16::from_be(source), u16::from_be(destination)))
    }

    /// Does it reset a connection of TCP (RFC 9293, section 3.1)?
    #[inline(always)]
    pub(crate) fn is_reset(&self, ctx: &SkBuffContext) -> bool {
        load::<u8>(ctx, self.header + 13).is_some_and(|flags| flags & RST != 0)
    }
}

/// Does the packet leave by the loopback device?
#[inline(always)]
pub(crate) fn on_loopback(ctx: &SkBuffContext) -> bool {
    // SAFETY: a field of the context.
    unsafe { (*ctx.skb.skb).ifindex == LOOPBACK }
}

/// Does UDP follow right behind the header?
#[inline(always)]
pub(crate) fn is_datagram(ctx: &SkBuffContext) -> bool {
    let protocol = match load::<u8>(ctx, 0) {
        Some(first) if first >> 4 == 4 => load::<u8>(ctx, 9),
        Some(_) => load::<u8>(ctx, 6),
        None => None,
    };
    protocol == Some(IPPROTO_UDP)
}

#[inline(always)]
fn load<T>(ctx: &SkBuffContext, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes the whole value, or fails.
    let result = unsafe {
        bpf_skb_load_bytes(
            ctx.skb.skb.cast(),
            offset,
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
        )
    };
    // SAFETY: written.
    if result == 0 {
        Some(unsafe { value.assume_init() })
    } else {
        None
    }
}

/// Reads the header. None when it has options, or another one behind it that could name a route.
#[inline(always)]
pub(crate) fn read(ctx: &SkBuffContext) -> Option<Packet> {
    let first = load::<u8>(ctx, 0)?;
    let (destination, protocol, header) = match first {
        // Version 4, five words: no options.
        0x45 => (
            address::mapped(load::<u32>(ctx, 16)?),
            load::<u8>(ctx, 9)?,
            HEADER4,
        ),
        _ if first >> 4 == 6 => (load::<Ip>(ctx, 24)?, load::<u8>(ctx, 6)?, HEADER6),
        _ => return None,
    };
    Some(Packet {
        destination,
        protocol,
        header,
    })
}
