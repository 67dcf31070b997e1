//! Socket storage by any pointer to a socket, since aya's getter takes the context of one program
//! type only.
use aya_ebpf::bindings::bpf_map_type::BPF_MAP_TYPE_SK_STORAGE;
use aya_ebpf::bindings::{BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE};
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use core::ffi::c_void;
use core::ptr;

/// A map of socket storage.
pub(crate) trait SocketMap {
    /// What each socket has.
    type Value;
}

impl<T> SocketMap for SkStorage<T> {
    type Value = T;
}

/// Socket storage that a listener's children get a copy of (sk_clone_lock), which aya's map cannot
/// be told. The fields are for the loader, in the form of a BTF map definition.
#[repr(C)]
pub(crate) struct ClonedStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: placeholders that are never followed.
unsafe impl<T> Sync for ClonedStorage<T> {}

impl<T> ClonedStorage<T> {
    pub(crate) const fn new() -> ClonedStorage<T> {
        ClonedStorage {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
        }
    }
}

impl<T> SocketMap for ClonedStorage<T> {
    type Value = T;
}

/// The storage of a socket, or null.
#[inline(always)]
pub(crate) fn get<M: SocketMap>(map: &'static M, socket: *mut c_void) -> *mut M::Value {
    storage(map, socket, ptr::null_mut(), 0)
}

/// The storage of a socket, made of zeros when there is none. Null when there is no memory.
#[inline(always)]
pub(crate) fn get_or_zero<M: SocketMap>(map: &'static M, socket: *mut c_void) -> *mut M::Value {
    storage(map, socket, ptr::null_mut(), CREATE)
}

/// Writes the storage of a socket. False when there is no memory.
#[inline(always)]
pub(crate) fn set<M: SocketMap>(map: &'static M, socket: *mut c_void, value: &mut M::Value) -> bool
where
    M::Value: Copy,
{
    let slot = storage(map, socket, value, CREATE);
    if slot.is_null() {
        return false;
    }
    // SAFETY: not null, so it points to a whole value of this socket.
    unsafe { *slot = *value };
    true
}

const CREATE: u64 = BPF_SK_STORAGE_GET_F_CREATE as u64;

/// `initial` is what a new one is made with; null: zeros.
#[inline(always)]
fn storage<M: SocketMap>(
    map: &'static M,
    socket: *mut c_void,
    initial: *mut M::Value,
    flags: u64,
) -> *mut M::Value {
    // SAFETY: the verifier proves that `socket` is a socket; the map outlives the program, and
    // `initial` is read before the call returns.
    unsafe {
        bpf_sk_storage_get(
            ptr::from_ref(map).cast_mut().cast(),
            socket,
            initial.cast(),
            flags,
        )
    }
    .cast()
}
