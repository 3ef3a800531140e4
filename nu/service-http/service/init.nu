# `service init`.

use ../client.nu
use ../project.nu

# Write a services.toml that explains itself into the current directory.
#
# All of it is commented out. What other files here speak of is suggested: in the file, commented out as well, and in the answer.
@category service
@search-terms new create project template Procfile compose
export def "service init" [
    --force (-f) # replace the services.toml that is there
]: any -> record {
    ignore # the item of a closure
    let span = (metadata $force).span
    let words = [init --config (project here $span | path join services.toml)] ++ (if $force { [--force] } else { [] })
    client program-says $words $span
}
