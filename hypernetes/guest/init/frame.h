/* Frames of the guest link, and the fields inside messages. Pure: no I/O, so that a test can feed it anything.
 *
 *   frame   = u32 length, u8 type, u8 flags, u16 zero, u32 id, u32 crc, payload     little endian
 *   field   = u16 tag, u32 length, value
 *
 * The crc is seeded by the connection's epoch, so a frame cut in half by a lost connection, or one of an earlier
 * connection, is never taken for a frame of this one. A connection begins with enough zeros to end any half frame, then
 * MAGIC and the epoch: a parser that has lost its place hunts for that. The host's frames are covered whole. The guest's
 * have a crc of their header alone: the host reads each connection from its MAGIC on, after which nothing can be missing,
 * and a checksum of all bytes took an emulated processor half of the time that output takes. */
#ifndef HN_FRAME_H
#define HN_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER 16
#define FRAME_MAX 32768 /* payload; more would delay control messages behind bulk data */
#define MAGIC_SIZE 16
#define EPOCH_SIZE 16

extern const uint8_t frame_magic[MAGIC_SIZE];

struct frame {
	uint8_t type, flags;
	uint32_t id, length;
	const uint8_t *payload;
};

struct parser {
	uint8_t bytes[FRAME_HEADER + FRAME_MAX];
	size_t have;
	bool hunting;
	uint8_t epoch[EPOCH_SIZE];
	uint32_t seed;
	void (*synced)(void);
	void (*received)(const struct frame *);
};

void parser_init(struct parser *, void (*synced)(void), void (*received)(const struct frame *));
void parser_feed(struct parser *, const uint8_t *data, size_t length);

/* Writes the header of a frame of the guest's into `header`. */
void frame_header(uint8_t header[FRAME_HEADER], uint32_t seed, const struct frame *);

uint32_t crc32_update(uint32_t crc, const void *data, size_t length);

struct fields {
	const uint8_t *at;
	size_t left;
};

struct field {
	uint16_t tag;
	uint32_t length;
	const uint8_t *value;
};

/* 1: a field; 0: the end; -1: malformed. */
int field_next(struct fields *, struct field *);
/* The value as a C string: NULL unless it ends in its only NUL. */
const char *field_string(const struct field *);
/* The value as a number of at most 8 bytes, little endian. */
bool field_number(const struct field *, uint64_t *);

#endif
