/** What a thread of the pool runs first: that it answers says that it has loaded its entry. */
export default function ready(): true {
  return true;
}
