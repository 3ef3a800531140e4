# Syntax that an older Nushell cannot parse, in a file of its own.

use support.nu *

export def "test what a command line begins with a dash is left to it" [] {
    define ""
    equal (service run --oneshot --name words -- printf "<%s>" "a b" true 5 | get ok) [true]
    eventually "it has written" { (service logs words --raw) =~ "<a b><true><5>" }
    equal (service run --oneshot --name flags -- printf "%s" --name -x | get name) [flags]
    eventually "it has written" { (service logs flags --raw) =~ "--name" }
}
