//! Socket storage by any pointer to a socket, since aya's getter takes the context of one program
//! type only.
use aya_ebpf::bindings::BPF_SK_STORAGE_GET_F_CREATE;
use aya_ebpf::btf_maps::SkStorage;
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use core::ffi::c_void;
use core::ptr;

/// The storage of a socket, or null.
#[inline(always)]
pub(crate) fn get<T>(map: &'static SkStorage<T>, socket: *mut c_void) -> *mut T {
    // SAFETY: the verifier proves that `socket` is a socket; the map outlives the program.
    unsafe {
        bpf_sk_storage_get(
            ptr::from_ref(map).cast_mut().cast(),
            socket,
            ptr::null_mut(),
            0,
        )
    }
    .cast()
}

/// The storage of a socket, made with this value when there is none. Null when there is no memory.
#[inline(always)]
pub(crate) fn get_or_insert<T>(
    map: &'static SkStorage<T>,
    socket: *mut c_void,
    value: &mut T,
) -> *mut T {
    // SAFETY: as above; `value` is read by the kernel before the call returns.
    unsafe {
        bpf_sk_storage_get(
            ptr::from_ref(map).cast_mut().cast(),
            socket,
            ptr::from_mut(value).cast(),
            BPF_SK_STORAGE_GET_F_CREATE as u64,
        )
    }
    .cast()
}

/// Writes the storage of a socket. False when there is no memory.
#[inline(always)]
pub(crate) fn set<T: Copy>(map: &'static SkStorage<T>, socket: *mut c_void, value: &mut T) -> bool {
    let slot = get_or_insert(map, socket, value);
    if slot.is_null() {
        return false;
    }
    // SAFETY: not null, so it points to a whole value of this socket.
    unsafe { *slot = *value };
    true
}

/// The storage of a socket, made of zeros when there is none. Null when there is no memory.
#[inline(always)]
pub(crate) fn get_or_zero<T>(map: &'static SkStorage<T>, socket: *mut c_void) -> *mut T {
    // SAFETY: as above; without a value the kernel fills it with zeros.
    unsafe {
        bpf_sk_storage_get(
            ptr::from_ref(map).cast_mut().cast(),
            socket,
            ptr::null_mut(),
            BPF_SK_STORAGE_GET_F_CREATE as u64,
        )
    }
    .cast()
}
