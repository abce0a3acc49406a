#include "spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "container.h"
#include "link.h"
#include "loop.h"
#include "proto.h"

#define SPOOL_FILE "/run/scratch/spool"
#define FILE_MAX (64 << 20)
#define OUTPUT_HEAD 18
#define PATIENCE_MS 1000 /* so long a host that is behind is waited for; one that says nothing is away */

struct record {
	struct record *next;
	uint8_t type;
	uint32_t length; /* of the payload: u64 sequence, then what the type says */
	uint8_t header[FRAME_HEADER]; /* the frame's, so that it is sent from where it is */
	uint8_t payload[];
};

/* Of output that fills frames there is a new one every few microseconds: their memory is used again. */
#define LARGE (FRAME_MAX / 4)
#define SPARE_MAX (SPOOL_WINDOW / FRAME_MAX + 2)
static struct record *spare;
static unsigned spare_count;
static struct record *filling;

/* In order: memory, then the file, then what a full disk refused. */
static struct record *first, *last, *unsent, *refused_first, *refused_last;
static size_t memory_bytes, in_flight;
static uint64_t next_sequence = 1;
static int file = -1;
static off_t file_read, file_end;
static int64_t heard_ms; /* when the host last acknowledged, or connected */

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = v >> (8 * i);
}

static uint64_t sequence_of(const struct record *r)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v |= (uint64_t)r->payload[i] << (8 * i);
	return v;
}

static struct record *new_record(uint8_t type, uint32_t length)
{
	struct record *r = spare;

	if (length > LARGE && r) {
		spare = r->next;
		spare_count--;
	} else {
		r = malloc(sizeof *r + (length > LARGE ? FRAME_MAX : length));
		if (!r)
			abort();
	}
	r->next = NULL;
	r->type = type;
	r->length = length;
	return r;
}

static void free_record(struct record *r)
{
	if (r->length > LARGE && r->length <= FRAME_MAX && spare_count < SPARE_MAX) {
		r->next = spare;
		spare = r;
		spare_count++;
	} else {
		free(r);
	}
}

bool spool_has_room(void)
{
	if (refused_first)
		return false;
	if (memory_bytes < SPOOL_WINDOW)
		return true;
	if (monotonic_ms() - heard_ms >= PATIENCE_MS)
		return file_end < FILE_MAX;
	loop_after(PATIENCE_MS, containers_resume_output);
	return false;
}

static void to_memory(struct record *r)
{
	r->next = NULL;
	if (last)
		last->next = r;
	else
		first = r;
	last = r;
	if (!unsent)
		unsent = r;
	memory_bytes += r->length;
}

static bool to_file(const struct record *r)
{
	uint8_t head[5] = {r->type, r->length, r->length >> 8, r->length >> 16, r->length >> 24};

	if (file < 0)
		file = open(SPOOL_FILE, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0)
		return false;
	if (pwrite(file, head, 5, file_end) != 5 || pwrite(file, r->payload, r->length, file_end + 5) != (ssize_t)r->length)
		return false;
	file_end += 5 + r->length;
	return true;
}

static void from_file(void)
{
	while (file_read < file_end && memory_bytes < SPOOL_WINDOW) {
		uint8_t head[5];
		struct record *r;
		uint32_t length;

		if (pread(file, head, 5, file_read) != 5)
			break;
		length = head[1] | head[2] << 8 | head[3] << 16 | (uint32_t)head[4] << 24;
		r = new_record(head[0], length);
		if (pread(file, r->payload, length, file_read + 5) != (ssize_t)length) {
			free_record(r);
			break;
		}
		file_read += 5 + length;
		to_memory(r);
	}
	if (file >= 0 && file_read == file_end && file_end) {
		if (ftruncate(file, 0))
			note("the spool can't be emptied: %s", strerror(errno));
		file_read = file_end = 0;
	}
	while (refused_first && file_read == file_end) {
		struct record *r = refused_first;
		refused_first = r->next;
		to_memory(r);
	}
}

static void append(struct record *r)
{
	bool full = memory_bytes >= SPOOL_WINDOW && r->type == M_OUTPUT;

	put64(r->payload, next_sequence++);
	if (!refused_first && file_read == file_end && !full) {
		to_memory(r);
		spool_pump();
	} else if (!refused_first && to_file(r)) {
		free_record(r);
	} else {
		r->next = NULL;
		if (refused_first)
			refused_last->next = r;
		else
			refused_first = r;
		refused_last = r;
	}
}

/* payload: u64 sequence, u64 time, u8 stream, u8 length of the id, id, data */
uint8_t *spool_begin(const char *container, size_t *room)
{
	size_t id = strlen(container);

	if (!filling)
		filling = new_record(M_OUTPUT, FRAME_MAX - FRAME_HEADER); /* the port takes it in one buffer */
	filling->payload[17] = id;
	memcpy(filling->payload + OUTPUT_HEAD, container, id);
	*room = FRAME_MAX - FRAME_HEADER - OUTPUT_HEAD - id;
	return filling->payload + OUTPUT_HEAD + id;
}

void spool_output(int stream, size_t length)
{
	size_t all = OUTPUT_HEAD + filling->payload[17] + length;
	struct record *r = filling;

	put64(r->payload + 8, now_ns());
	r->payload[16] = stream;
	if (all > LARGE) {
		r->length = all;
		filling = NULL;
	} else {
		r = new_record(M_OUTPUT, all);
		memcpy(r->payload, filling->payload, all);
	}
	append(r);
}

void spool_exit(const uint8_t *status, size_t length)
{
	struct record *r = new_record(M_EXITED, 8 + length);

	memcpy(r->payload + 8, status, length);
	append(r);
}

void spool_pump(void)
{
	while (link_synced() && !link_congested() && unsent) {
		if (in_flight && in_flight + unsent->length > SPOOL_WINDOW)
			return;
		struct record *r = unsent;

		/* first: a send that finds room again comes back here */
		unsent = r->next;
		in_flight += r->length;
		link_send_in_place(r->type, 0, 0, r->payload, r->length);
	}
}

void spool_acknowledge(uint64_t sequence)
{
	heard_ms = monotonic_ms();
	while (first && first != unsent && sequence_of(first) <= sequence) {
		struct record *r = first;

		first = r->next;
		if (!first)
			last = NULL;
		memory_bytes -= r->length;
		in_flight -= r->length;
		free_record(r);
	}
	from_file();
	spool_pump();
	containers_resume_output();
}

void spool_rewind(void)
{
	heard_ms = monotonic_ms();
	unsent = first;
	in_flight = 0;
}
