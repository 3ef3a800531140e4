# Syntax that an older Nushell cannot parse, in a file of its own.

use support.nu *

export def "test words after -- belong to the command line" [] {
    define ""
    equal (service run --oneshot --name words -- printf "<%s>" "a b" true 5 | get ok) [true]
    eventually "the service has written the file" { (service logs words --raw) =~ "<a b><true><5>" }
    equal (service run --oneshot --name flags -- printf "%s" --name -x | get name) [flags]
    eventually "the service has written the file" { (service logs flags --raw) =~ "--name" }
}
