//! Processor time and memory of this process, where the system tells.

use std::time::Duration;

/// Processor time that the process's threads have used, in user mode and in the kernel.
#[cfg(target_os = "linux")]
pub(super) fn cpu_time() -> Option<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};

    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    [usage.user_time(), usage.system_time()]
        .into_iter()
        .map(|time| {
            let seconds = u64::try_from(time.tv_sec()).ok()?;
            let micros = u64::try_from(time.tv_usec()).ok()?;
            Some(Duration::from_secs(seconds) + Duration::from_micros(micros))
        })
        .sum()
}

/// Forgets the highest memory use so far.
#[cfg(target_os = "linux")]
pub(super) fn reset_peak_memory() -> std::io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

/// The highest resident memory since the last reset, in bytes.
#[cfg(target_os = "linux")]
pub(super) fn peak_memory() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes
        .map(|kilobytes| kilobytes * 1024)
        .ok_or_else(|| std::io::Error::other("no VmHWM in /proc/self/status"))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn cpu_time() -> Option<Duration> {
    None
}

#[cfg(not(target_os = "linux"))]
pub(super) fn reset_peak_memory() -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn peak_memory() -> std::io::Result<u64> {
    Err(std::io::ErrorKind::Unsupported.into())
}
