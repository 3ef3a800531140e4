# `service init`.

use ../client.nu
use ../project.nu

# Write a commented services.toml into the current directory.
#
# Every entry is commented out. Suggestions from other files are in the file, commented out as well, and in the result.
@category service
@search-terms new create project template Procfile compose
export def "service init" [
    --force (-f) # replace an existing services.toml
]: any -> record {
    ignore # the item of a closure
    let span = (metadata $force).span
    let words = [init --config (project current-directory $span | path join services.toml)] ++ (if $force { [--force] } else { [] })
    client run-program $words $span
}
