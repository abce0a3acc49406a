/* Flow-controlled streams between the host and file descriptors: exec, attach, forwards.
 *
 * A stream has up to two descriptors that are read for the host (channel 1 and 2) and one that is written for it.
 * Each side sends at most STREAM_WINDOW bytes more than the other said by CREDIT to have consumed. */
#ifndef HN_STREAM_H
#define HN_STREAM_H

#include "frame.h"
#include "loop.h"

#define STREAMS_MAX 128
#define GUEST_STREAM 0x80000000u /* set in the ids that the guest chooses */

struct stream {
	uint32_t id;
	struct source in[2], out;
	bool socket, terminal;
	uint8_t *pending;      /* the host's bytes not yet written */
	size_t pending_length;
	uint32_t credit;       /* bytes the host still takes */
	bool host_ended, ended[2];
	bool has_process;      /* lives until stream_end */
	bool ending;           /* the process is gone; `left` of its output waits for the host's credit */
	int code;
	int left[2];
	void (*closed)(struct stream *); /* the host gave the stream up */
	void (*input_ended)(struct stream *);
	void *owner;
	struct stream *next;
};

/* NULL when there are too many. */
struct stream *stream_new(uint32_t id, uint32_t credit);
struct stream *stream_find(uint32_t id);
void stream_read_from(struct stream *, int channel, int fd); /* takes fd over */
void stream_write_to(struct stream *, int fd);		     /* takes fd over */
/* Sends output that was read elsewhere; a stream without enough credit is reset: false. */
bool stream_push(struct stream *, int channel, const void *, size_t);
/* The process behind it ended: what is readable now is sent as the host takes it, then its exit code. The stream then
 * frees itself; its owner has lost it. */
void stream_end(struct stream *, int code);
void stream_reset(struct stream *);
void stream_frame(const struct frame *);
/* The host is new: nothing of an earlier connection goes on. */
void streams_reset_all(void);

#endif
