"""
The log monitor: what is written into a followed log file becomes ``log.entry`` events, each exactly once.

The design, in ten points:

1. The capture's hints (`follower`) only say which log to look at; the disk decides, as everywhere else.
2. A *log* is a name that `lines.files` admits. Its *generations* are files, the oldest first: rotation makes
   new ones.
3. A generation is device, inode and marks: digests of its head and of the bytes before its offset (`marks`).
4. Everything is read in steps of bounded bytes and time within the recorder's turn; between two of them the
   others have their turn.
5. The offset of a generation is that of the first byte that is in no committed entry. It is stored, with the
   marks, in the transaction of the entries. What is read and no entry yet is in memory alone: after a crash
   it is read again.
6. A younger generation is read as far as it reached before its elders were read to their ends: what one
   writer wrote is told in its order, although it may write to both.
7. A generation that left its name is found again by its inode, beside it or elsewhere in the tree, or by a
   copy with its marks (copytruncate). Those that came and went unseen stand between: they have rotated names,
   are known to nobody, and are younger.
8. A descriptor is held while a file is written, and for a while after it was renamed or deleted: it is read
   to its end.
9. Bytes that are known to have been there and cannot be read any more are counted, and told by
   ``log.truncated``.
10. Splitting, joining and extracting are pure: `splitter`, `pattern`, `formats`, `fields`, `extract`.
"""
