"""The guest link's numbers. The guest's are in guest/init/proto.h; a test compares the two."""

from enum import IntEnum, IntFlag

PROTOCOL_VERSION = 2
PORT_NAME = "hn.link.0"
STREAM_WINDOW = 262144  # bytes in flight per stream and direction
SPOOL_WINDOW = 1048576  # bytes of output sent and not yet acknowledged
FLAG_MORE = 1  # the request goes on in the next frame of the same id
QUESTION_UDP = 1  # flag of a question that came by UDP, so that its answer's size is limited
GUEST_STREAM = 0x80000000  # set in the ids that the guest chooses


class FrameType(IntEnum):
    IDENTIFY = 1
    PREPARE = 2
    CONFIGURE = 3
    MOUNT_DISK = 4
    UNMOUNT_DISK = 5
    MAKE_VOLUME = 6
    WRITE_VOLUME = 7
    SERVICES = 8
    START = 9
    SIGNAL = 10
    REMOVE = 11
    ATTACH = 12
    EXEC = 13
    FORWARD = 14
    RESIZE = 15
    LIST = 16
    STAT = 17
    CLOCK = 18
    POWEROFF = 19
    ATTACH_VOLUME = 20
    DETACH_VOLUME = 21
    GROW_VOLUME = 22
    MOUNT_NFS = 23
    READ_FILE = 24
    LIMIT = 25
    WAIT_DISK = 26
    MEASURE = 28
    ACK = 40
    ANSWER = 41
    DATA = 48
    EOF = 49
    CREDIT = 50
    RESET = 51
    HELLO = 64
    RESULT = 65
    OUTPUT = 66
    EXITED = 67
    ENDED = 68
    QUESTION = 69
    CONNECT = 70
    LOG = 71


class Tag(IntEnum):
    REASON = 1
    MESSAGE = 2
    NAME = 3
    ENTROPY = 4
    TIME = 5  # nanoseconds since the epoch
    DELTA = 6  # nanoseconds to add to the clock
    HOSTNAME = 7
    ADDRESS = 8
    PREFIX = 9
    GATEWAY = 10
    MTU = 11
    MAC = 12
    SERVICE_ADDRESS = 13
    SERVICE_PREFIX = 14
    DNS_ADDRESS = 15
    KUBERNETES_ADDRESS = 16
    SYSCTL = 17  # name=value
    OPTIONS = 18
    LUN = 19
    SIZE = 20  # bytes
    PATH = 21
    MODE = 22
    CONTENT = 23
    HAPROXY = 24
    NFTABLES = 25
    IMAGE = 26
    ARG = 27
    ENV = 28
    CWD = 29
    UID = 30
    GID = 31
    GROUP = 32
    CAPABILITIES = 33  # mask
    SOURCE = 34
    TARGET = 35
    SUB_PATH = 36
    MEMORY = 37  # bytes
    CPU = 38  # millicores
    SIGNAL = 39
    STREAM = 40
    PORT = 41
    COLUMNS = 42
    ROWS = 43
    STATE = 44
    STARTED = 45
    FINISHED = 46
    CODE = 47
    OOM = 48
    BOOT_ID = 49
    VERSION = 50
    CONTAINER = 51  # nested fields of one container's status, or use
    CONFIGURED = 52
    CPU_TIME = 53  # microseconds used since the start
    COMMAND = 54  # a line of HAProxy's runtime commands
    FILE_SYSTEM = 55  # its type
    MESSAGE_PATH = 60  # where a container leaves its last words
    SECCOMP = 61  # a BPF program
    FS_GROUP = 62  # owner of a volume's files
    PROCESSES_OF = 63  # the container whose PID namespace is shared


class Option(IntFlag):
    """Bits of Tag.OPTIONS."""

    TTY = 1
    STDIN = 2
    READ_ONLY = 4
    PRIVILEGED = 8
    NO_NEW_PRIVILEGES = 16
    SHARE_PIDS = 32
    MEMORY = 64
    BLOCK = 128
    ON_ROOT_MISMATCH = 256
    STDIN_ONCE = 65536
    UNMASKED = 131072  # /proc as it is
    # Of a mount.
    RECURSIVE = 1048576  # read-only with all that is mounted below
    FROM_MACHINE = 2097152  # later mounts of others in the volume are seen
    TO_MACHINE = 4194304  # and one's own are shown to them
