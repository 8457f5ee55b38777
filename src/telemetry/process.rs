//! What a process uses, read from `/proc`. The parsers are pure; reading fails with the file's
//! name where `/proc` is not there.

use std::io;
use std::time::Duration;

/// What a process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time since its start, user and system.
    pub cpu: Duration,
    /// Open file descriptors.
    pub open_fds: u64,
}

impl Sample {
    /// Samples this process.
    ///
    /// # Errors
    /// When a file of `/proc/self` can't be read or is not what proc(5) says.
    pub fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            rss_bytes: rss_bytes("self")?,
            cpu: cpu_time("self")?,
            // The directory handle that lists them is one of them.
            open_fds: (std::fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1),
        })
    }
}

/// Resident memory of a process (`self` or a number), in bytes.
///
/// # Errors
/// When `/proc/PID/statm` can't be read or parsed.
pub fn rss_bytes(process: &str) -> io::Result<u64> {
    let page_size = rustix::param::page_size() as u64;
    read(process, "statm", |text| parse_statm(text, page_size))
}

/// User and system time of a process (`self` or a number), its ended threads included.
///
/// # Errors
/// When `/proc/PID/stat` can't be read or parsed.
pub fn cpu_time(process: &str) -> io::Result<Duration> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    read(process, "stat", |text| parse_stat(text, ticks_per_second))
}

/// User and system time of a process and all its descendants, those that ended and were waited
/// for included.
///
/// # Errors
/// When the process itself can't be read; a child that ends meanwhile counts through its parent.
pub fn tree_cpu_time(pid: u32) -> io::Result<Duration> {
    let ticks_per_second = rustix::param::clock_ticks_per_second();
    let with_waited_for = |process: &str| {
        read(process, "stat", |text| {
            parse_stat_tree(text, ticks_per_second)
        })
    };
    let mut total = with_waited_for(&pid.to_string())?;
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop() {
        for child in children(parent) {
            total += with_waited_for(&child.to_string()).unwrap_or_default();
            parents.push(child);
        }
    }
    Ok(total)
}

/// Children of all threads of a process; none when it has ended.
fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            let pids = list.split_ascii_whitespace().map(str::parse);
            pids.filter_map(Result::ok).collect::<Vec<u32>>()
        })
        .collect()
}

/// Largest resident size a process has had, in bytes.
///
/// # Errors
/// When `/proc/PID/status` can't be read or parsed.
pub fn peak_rss_bytes(process: &str) -> io::Result<u64> {
    read(process, "status", parse_peak)
}

fn read<T>(process: &str, file: &str, parse: impl FnOnce(&str) -> Option<T>) -> io::Result<T> {
    let path = format!("/proc/{process}/{file}");
    let failed = |kind, text: String| io::Error::new(kind, format!("read {path}: {text}"));
    let text =
        std::fs::read_to_string(&path).map_err(|error| failed(error.kind(), error.to_string()))?;
    parse(&text).ok_or_else(|| failed(io::ErrorKind::InvalidData, "unknown layout".to_owned()))
}

/// Second field of `statm`: resident pages.
fn parse_statm(text: &str, page_size: u64) -> Option<u64> {
    let pages: u64 = text.split_ascii_whitespace().nth(1)?.parse().ok()?;
    pages.checked_mul(page_size)
}

/// Fields 14 and 15 of `stat`: user and system time in ticks. The second field, the program's
/// name, is in brackets and may hold blanks and brackets itself, so fields are counted from the
/// last bracket.
fn parse_stat(text: &str, ticks_per_second: u64) -> Option<Duration> {
    sum_of_ticks(text, 2, ticks_per_second)
}

/// As [`parse_stat`], with fields 16 and 17: the same of children that were waited for.
fn parse_stat_tree(text: &str, ticks_per_second: u64) -> Option<Duration> {
    sum_of_ticks(text, 4, ticks_per_second)
}

fn sum_of_ticks(text: &str, fields: usize, ticks_per_second: u64) -> Option<Duration> {
    let (_, rest) = text.rsplit_once(')')?;
    let mut values = rest.split_ascii_whitespace().skip(11);
    let mut ticks: u64 = 0;
    for _ in 0..fields {
        ticks = ticks.checked_add(values.next()?.parse().ok()?)?;
    }
    let nanos = u128::from(ticks) * 1_000_000_000;
    let nanos = nanos.checked_div(u128::from(ticks_per_second))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// `VmHWM` of `status`.
fn parse_peak(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_pages_become_bytes() {
        assert_eq!(
            parse_statm("2000 300 100 1 0 50 0\n", 4096),
            Some(300 * 4096)
        );
        assert_eq!(parse_statm("2000", 4096), None);
        assert_eq!(parse_statm("1 x", 4096), None);
    }

    #[test]
    fn processor_time_is_found_behind_a_name_with_brackets() {
        let text = "42 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 150 50 7 7 20 0 9\n";
        assert_eq!(parse_stat(text, 100), Some(Duration::from_secs(2)));
        assert_eq!(parse_stat(text, 1000), Some(Duration::from_millis(200)));
        assert_eq!(parse_stat(text, 0), None);
        assert_eq!(
            parse_stat_tree(text, 100),
            Some(Duration::from_millis(2140))
        );
        assert_eq!(parse_stat("42 (a) S 1 2", 100), None);
    }

    #[test]
    fn the_peak_is_read_in_kibibytes() {
        let text = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  12 kB\nVmRSS:\t 3 kB\n";
        assert_eq!(parse_peak(text), Some(12 * 1024));
        assert_eq!(parse_peak("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_can_be_sampled() {
        let sample = Sample::of_this_process().unwrap();
        assert!(sample.rss_bytes > 1 << 20, "{sample:?}");
        assert!(sample.open_fds >= 3, "{sample:?}");
        assert!(tree_cpu_time(std::process::id()).unwrap() >= sample.cpu);
        assert!(peak_rss_bytes("self").unwrap() >= 1 << 20);
        assert_eq!(
            rss_bytes("no-such-process").unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
