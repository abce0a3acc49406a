/* The guest link's numbers. The host's are in nodeagent/runtime/protocol.py; a test compares the two. */
#ifndef HN_PROTO_H
#define HN_PROTO_H

#define PROTOCOL_VERSION 2
#define PORT_NAME "hn.link.0"
#define STREAM_WINDOW 262144 /* bytes in flight per stream and direction */
#define SPOOL_WINDOW 1048576 /* bytes of output sent and not yet acknowledged */
#define FLAG_MORE 1	     /* the request goes on in the next frame of the same id */
#define QUESTION_UDP 1	     /* flag of a question that came by UDP, so that its answer's size is limited */

enum frame_type {
	/* Requests of the host; each is answered by RESULT with the same id. */
	M_IDENTIFY = 1,
	M_PREPARE = 2,
	M_CONFIGURE = 3,
	M_MOUNT_DISK = 4,
	M_UNMOUNT_DISK = 5,
	M_MAKE_VOLUME = 6,
	M_WRITE_VOLUME = 7,
	M_SERVICES = 8,
	M_START = 9,
	M_SIGNAL = 10,
	M_REMOVE = 11,
	M_ATTACH = 12,
	M_EXEC = 13,
	M_FORWARD = 14,
	M_RESIZE = 15,
	M_LIST = 16,
	M_STAT = 17,
	M_CLOCK = 18,
	M_POWEROFF = 19,
	M_ATTACH_VOLUME = 20,
	M_DETACH_VOLUME = 21,
	M_GROW_VOLUME = 22,
	M_MOUNT_NFS = 23,
	M_READ_FILE = 24,
	M_LIMIT = 25,
	M_WAIT_DISK = 26,
	M_MEASURE = 28,
	/* Of the host, not answered. */
	M_ACK = 40,
	M_ANSWER = 41,
	/* Of a stream, either way; the id is the stream's. */
	M_DATA = 48,
	M_EOF = 49,
	M_CREDIT = 50,
	M_RESET = 51,
	/* Of the guest. */
	M_HELLO = 64,
	M_RESULT = 65,
	M_OUTPUT = 66,
	M_EXITED = 67,
	M_ENDED = 68,
	M_QUESTION = 69,
	M_CONNECT = 70,
	M_LOG = 71,
};

enum tag {
	T_REASON = 1,
	T_MESSAGE = 2,
	T_NAME = 3,
	T_ENTROPY = 4,
	T_TIME = 5, /* nanoseconds since the epoch */
	T_DELTA = 6, /* nanoseconds to add to the clock */
	T_HOSTNAME = 7,
	T_ADDRESS = 8,
	T_PREFIX = 9,
	T_GATEWAY = 10,
	T_MTU = 11,
	T_MAC = 12,
	T_SERVICE_ADDRESS = 13,
	T_SERVICE_PREFIX = 14,
	T_DNS_ADDRESS = 15,
	T_KUBERNETES_ADDRESS = 16,
	T_SYSCTL = 17, /* name=value */
	T_OPTIONS = 18,
	T_LUN = 19,
	T_SIZE = 20, /* bytes */
	T_PATH = 21,
	T_MODE = 22,
	T_CONTENT = 23,
	T_HAPROXY = 24,
	T_NFTABLES = 25,
	T_IMAGE = 26,
	T_ARG = 27,
	T_ENV = 28,
	T_CWD = 29,
	T_UID = 30,
	T_GID = 31,
	T_GROUP = 32,
	T_CAPABILITIES = 33, /* mask */
	T_SOURCE = 34,
	T_TARGET = 35,
	T_SUB_PATH = 36,
	T_MEMORY = 37, /* bytes */
	T_CPU = 38,    /* millicores */
	T_SIGNAL = 39,
	T_STREAM = 40,
	T_PORT = 41,
	T_COLUMNS = 42,
	T_ROWS = 43,
	T_STATE = 44,
	T_STARTED = 45,
	T_FINISHED = 46,
	T_CODE = 47,
	T_OOM = 48,
	T_BOOT_ID = 49,
	T_VERSION = 50,
	T_CONTAINER = 51, /* nested fields of one container's status, or use */
	T_CONFIGURED = 52,
	T_CPU_TIME = 53, /* microseconds used since the start */
	T_COMMAND = 54, /* a line of HAProxy's runtime commands */
	T_FILE_SYSTEM = 55, /* its type */
	T_MESSAGE_PATH = 60, /* where a container leaves its last words */
	T_SECCOMP = 61,	     /* a BPF program */
	T_FS_GROUP = 62,     /* owner of a volume's files */
	T_PROCESSES_OF = 63, /* the container whose PID namespace is shared */
};

/* Bits of T_OPTIONS. */
enum option {
	O_TTY = 1,
	O_STDIN = 2,
	O_READ_ONLY = 4,
	O_PRIVILEGED = 8,
	O_NO_NEW_PRIVILEGES = 16,
	O_SHARE_PIDS = 32,
	O_MEMORY = 64, /* a volume in memory */
	O_BLOCK = 128, /* a volume that is a device */
	O_ON_ROOT_MISMATCH = 256, /* a volume whose files are given to the group only if its root isn't the group's */
	O_STDIN_ONCE = 65536,
	O_UNMASKED = 131072, /* /proc as it is */
	/* Of a mount. */
	O_RECURSIVE = 1048576, /* read-only with all that is mounted below */
	O_FROM_MACHINE = 2097152, /* later mounts of others in the volume are seen */
	O_TO_MACHINE = 4194304, /* and one's own are shown to them */
};

#endif
