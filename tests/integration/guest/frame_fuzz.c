/* Feeds hn-init's frame parser from standard input, under the address sanitizer. Prints "type id length sum" per frame. */
#include <stdio.h>
#include <unistd.h>

#include "frame.h"

static void synced(void) { puts("sync"); }

static void received(const struct frame *f)
{
	struct fields fields = {f->payload, f->length};
	struct field field;
	unsigned sum = 0;
	uint64_t number;

	for (uint32_t i = 0; i < f->length; i++)
		sum += f->payload[i];
	printf("%u %u %u %u\n", f->type, f->id, f->length, sum);
	while (field_next(&fields, &field) > 0) {
		field_string(&field);
		field_number(&field, &number);
	}
}

int main(void)
{
	static struct parser parser;
	uint8_t buffer[977]; /* an odd size: frames are cut anywhere */
	ssize_t n;

	parser_init(&parser, synced, received);
	while ((n = read(0, buffer, sizeof buffer)) > 0)
		parser_feed(&parser, buffer, n);
	return 0;
}
