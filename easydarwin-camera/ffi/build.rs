//! Gives the shared library its name: the number is that of the ABI (`EDC_ABI_VERSION`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libedc.so.1");
}
